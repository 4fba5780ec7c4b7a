"""What a segmentation model answers, image by image: label maps, class maps, or masks with scores.

`values` says what an answer is, `rle` codes masks in runs, `read` takes files made elsewhere, `stored` keeps what
a run made.
"""
