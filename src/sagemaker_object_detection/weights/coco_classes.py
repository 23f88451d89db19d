"""The classes the published base models tell apart: COCO's of 2017."""

COLUMNS = 90
"""Classes the published class predictors have room for: ids 1 to 90, of which COCO uses 80."""

# In the order of their ids, which begin with 1; "-" for one that COCO does not use.
_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack, umbrella,
-, -, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
skateboard, surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -, dining
table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, -, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
CLASSES = {index: name for index, name in enumerate(" ".join(_NAMES.split()).split(", "), 1) if name != "-"}
"""The name of each id that COCO uses."""
