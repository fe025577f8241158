"""Results as people read them: tables, pictures and a page of evaluations, a sensitivity scan."""
from basicsr_kd.report.figure import Comparison, busiest_box, comparison_figure
from basicsr_kd.utils.text import markdown_table

__all__ = ['Comparison', 'busiest_box', 'comparison_figure', 'markdown_table']
