"""One description of a chart, drawn by matplotlib for files and by plotly for pages."""
