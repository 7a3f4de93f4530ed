from pipelines.measure import values


def measured(*ious: float | None) -> dict[str, object]:
    validation = {
        "miou": 0.5,
        "boundary": {"f1": 0.4},
        "calibration": {"ece": 0.1, "temperature": 1.0},
        "pixel_accuracy": 0.9,
        "mean_accuracy": 0.8,
        "iou": list(ious),
    }
    return {"labels": 1, "labels_per_image": 1.0, "seconds": 2.0, "validation": validation}


def ious(names: list[str], *found: float | None) -> dict[str, float]:
    return {name: value for name, value in values(measured(*found), names).items() if name.startswith("val_iou_")}


def test_classes_whose_names_mlflow_cannot_tell_apart_have_a_metric_each():
    names = ["car (moving)", "road", "car [moving]"]
    told = {"val_iou_car _moving__0": 0.1, "val_iou_road": 0.2, "val_iou_car _moving__2": 0.3}
    assert ious(names, 0.1, 0.2, 0.3) == told
    assert ious(names, None, 0.2, 0.3) == {name: told[name] for name in list(told)[1:]}  # the same in every round


def test_names_too_long_for_mlflow_too():
    first, second = ious(["x" * 300 + "a", "x" * 300 + "b"], 0.1, 0.2)
    assert first != second
    assert max(len(first), len(second)) <= 250
