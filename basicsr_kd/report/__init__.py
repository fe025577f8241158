"""Results as people read them: a table and a picture."""
from basicsr_kd.report.figure import Comparison, busiest_box, comparison_figure
from basicsr_kd.report.table import markdown_table

__all__ = ['Comparison', 'busiest_box', 'comparison_figure', 'markdown_table']
