"""The paper's own tables: F1 recomputed from the printed P and R flags the cells that cannot be right.

Transcribed from Tables 2 and 3 of the paper, in per cent; Table 3 prints P and R for "overall" only.
"""
# action, method: tip P, R, F1, anchor P, R, F1
TABLE_2 = {
    ('clip', 'SimpleBaseline'): (93.3, 25.5, 40.1, 70.1, 17.8, 28.8),
    ('clip', 'YOLOv8-pose'): (47.1, 26.2, 33.6, 65.6, 51.2, 51.2),
    ('clip', 'RTMPose'): (50.2, 50.2, 50.2, 49.3, 49.4, 49.4),
    ('clip', 'Ours'): (77.9, 48.4, 59.7, 61.5, 51.1, 55.8),
    ('grasp', 'SimpleBaseline'): (88.4, 39.1, 54.2, 63.2, 25.9, 45.8),
    ('grasp', 'YOLOv8-pose'): (52.5, 31.5, 39.4, 60.4, 43.4, 50.5),
    ('grasp', 'RTMPose'): (58.7, 58.7, 58.7, 35.8, 35.8, 35.8),
    ('grasp', 'Ours'): (80.9, 49.7, 61.6, 56.2, 41.6, 47.8),
    ('dissect', 'SimpleBaseline'): (46.4, 26.4, 33.6, 78.2, 39.9, 52.8),
    ('dissect', 'YOLOv8-pose'): (84.7, 72.2, 78.0, 52.6, 45.2, 48.6),
    ('dissect', 'RTMPose'): (69.3, 68.8, 69.1, 59.1, 59.4, 59.2),
    ('dissect', 'Ours'): (81.1, 72.6, 76.6, 67.6, 52.2, 58.9),
    ('overall', 'SimpleBaseline'): (53.1, 28.5, 37.1, 77.3, 39.4, 52.2),
    ('overall', 'YOLOv8-pose'): (77.4, 60.1, 67.7, 53.3, 45.0, 48.8),
    ('overall', 'RTMPose'): (65.5, 65.2, 65.4, 57.0, 57.2, 57.1),
    ('overall', 'Ours'): (81.0, 65.5, 72.4, 66.6, 51.3, 58.0),
}
TABLE_3 = {
    ('overall', 'Coarse'): (61.1, 46.7, 52.9, 67.3, 41.7, 51.5),
    ('overall', 'Refine w/o prior'): (76.0, 62.4, 68.5, 63.1, 50.9, 56.4),
    ('overall', 'Direct mask-aug.'): (72.9, 65.0, 68.7, 58.4, 54.6, 56.4),
    ('overall', 'Refine + prior'): (80.3, 64.7, 71.6, 66.3, 51.4, 57.9),
    ('overall', 'Refine + prior + aux'): (81.0, 65.5, 72.4, 66.6, 51.3, 58.0),
}
ROUNDING = 0.05


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall)


def inconsistent(table):
    """Cells whose printed F1 no P and R that round to the printed ones can give, and what these give."""
    found = {}
    for (action, method), row in table.items():
        for landmark, (p, r, printed) in (('tip', row[:3]), ('anchor', row[3:])):
            # F1 grows with P and with R.
            least, most = f1(p - ROUNDING, r - ROUNDING), f1(p + ROUNDING, r + ROUNDING)
            if not least - ROUNDING <= printed <= most + ROUNDING:
                found[action, method, landmark] = round(f1(p, r), 1)
    return found


def test_exactly_three_cells_are_inconsistent():
    assert sum(2 for table in (TABLE_2, TABLE_3) for _ in table) == 42
    assert inconsistent(TABLE_2) == {('clip', 'SimpleBaseline', 'anchor'): 28.4,
                                     ('grasp', 'SimpleBaseline', 'anchor'): 36.7,
                                     ('clip', 'YOLOv8-pose', 'anchor'): 57.5}
    assert inconsistent(TABLE_3) == {}


def test_both_tables_print_the_same_for_the_full_method():
    assert TABLE_2['overall', 'Ours'] == TABLE_3['overall', 'Refine + prior + aux']
