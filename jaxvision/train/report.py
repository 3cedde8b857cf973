"""report.html: a run in one file, read from top to bottom, offline."""
import html

def number(value):
  return f"{float(value):.4g}"

def render(results, metrics, pictures):
  return "<!doctype html><title>" + html.escape(results["title"]) + "</title>"
