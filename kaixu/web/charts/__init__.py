"""Charts as SVG made by the server: the drawing, its legend, and the table that says the same."""

from .drawing import chart_svg
from .sparkline import sparkline_svg
from .twin import ChartRow, ChartTable, LegendItem, chart_legend, chart_table

__all__ = ["ChartRow", "ChartTable", "LegendItem", "chart_legend", "chart_svg", "chart_table", "sparkline_svg"]
