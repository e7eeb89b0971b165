from pathlib import Path
from typing import Any

import pytest

from rcm_cascade.data.manifest import Length, parse_length, read_header
from rcm_cascade.errors import InputError

CLASSES = """
classes:
  - {id: 0, name: skin, color: "#101010"}
  - {id: 1, name: nest, color: "#ff0000"}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "dataset.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything(tmp_path: Path) -> None:
    header = read_header(
        write(
            tmp_path,
            "name: moles\nunlabelled: 255\npixel_size_um: 0.5\nworking_pixel_size_um: 1\nwindow: 1 mm\nstride: 500 µm\n"
            f"patch: 512\nsynthetic: true\n{CLASSES}",
        )
    )
    assert (header.name, header.classes.names) == ("moles", ("skin", "nest"))
    assert (header.pixel_size_um, header.working_pixel_size_um) == (0.5, 1.0)
    assert (header.window, header.stride, header.patch) == (Length(1, "mm"), Length(500, "um"), Length(512, "px"))
    assert header.synthetic


def test_the_least(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, f"name: moles\n{CLASSES}"))
    assert not header.synthetic
    assert [header.pixel_size_um, header.working_pixel_size_um, header.window, header.stride, header.patch] == [
        None
    ] * 5
    assert (
        read_header(write(tmp_path, f"name: m\nworking_pixel_size_um: native{CLASSES}")).working_pixel_size_um
        == "native"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"name: m\npixel_size: 1{CLASSES}",
            "pixel_size: Unexpected keyword argument; known keys are name, classes, unlabelled, pixel_size_um",
        ),
        (CLASSES, "name: Field required; known keys are name"),
        ("name: m\n", r"classes: Field required"),
        ("name: m\nclasses:\n - {id: 0, name: a}\n", r"classes\.0\.color: Field required"),
        ("name: m\nclasses:\n - {id: 0, name: a, color: #ff0000}\n", "is no valid YAML"),
        (
            'name: m\nclasses:\n - {id: 0, name: a, colour: "#ff0000"}\n',
            r"classes\.0\.color: Field required",
        ),
        ('name: m\nclasses:\n - {id: 1, name: a, color: "#ff0000"}\n', r"dataset\.yaml: classes: class ids are \[1\]"),
        (f"name: [m]\n{CLASSES}", r"name: Input should be a valid string, not \['m'\]"),
        (f"name: m\nunlabelled: 0{CLASSES}", "unlabelled: Input should be 255, not 0"),
        (f"name: m\npixel_size_um: 0{CLASSES}", "pixel_size_um: Input should be greater than 0, not 0"),
        (f"name: m\npixel_size_um: .inf{CLASSES}", "pixel_size_um: Input should be a finite number, not inf"),
        (
            f"name: m\nworking_pixel_size_um: nativ{CLASSES}",
            "number, .* should be 'native', not 'nativ'",
        ),
        (f"name: m\nwindow: 1 inch{CLASSES}", r"dataset\.yaml: window: the length is '1 inch'"),
        (f"name: m\nwindow: [1]{CLASSES}", r"window: the length is \[1\]; expected a positive number with its unit"),
        (f"name: m\nsynthetic: perhaps{CLASSES}", "synthetic: Input should be a valid boolean, .*, not 'perhaps'"),
        (f"name: m\npixel_size_um: yes{CLASSES}", "pixel_size_um: .*number, .*, not 'yes'"),
        (f"name: m\npixel_size_um: true{CLASSES}", "pixel_size_um: .*number, .*, not 'true'"),
        (f"name: m\npixel_size_um: 1:30{CLASSES}", "pixel_size_um: .*number, .*, not '1:30'"),
        (f"name: m\npixel_size_um: .5\nname: n{CLASSES}", r"dataset\.yaml, line 3, gives 'name' a second time"),
        ("name: m\nclasses:\n - {id: yes, name: a, color: '#ff0000'}\n", "id: .*integer, .*, not 'yes'"),
        ("name: m\nclasses:\n - {id: 0, name: 010, color: '#ff0000'}\n", "name: .*string, not 10; put it in quotes"),
        ("name: m\nclasses:\n - {id: 0, name: a, color: #ff0000\n   }\n", "color: .*, not None; put it in quotes"),
        ("just a text", "should be a dictionary"),
        ("", "should be a dictionary"),
        ("name: 'm\n", "is no valid YAML"),
        ("1: 2\n", "1: Keys should be strings"),
        ("a: !!python/object/apply:os.getcwd []\n", "is no valid YAML"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_header(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "dataset.yaml" in str(caught.value)


def test_aliases_do_not_blow_up_the_message(tmp_path: Path) -> None:
    lists = ["&x0 [lol, lol, lol, lol, lol, lol, lol, lol]"]
    lists += [f"&x{i} [{', '.join([f'*x{i - 1}'] * 8)}]" for i in range(1, 12)]  # 8 to the 12th in full
    text = "classes:\n" + "\n".join(f" - {row}" for row in lists) + "\nname: *x11\n"
    with pytest.raises(InputError, match="valid string, not") as caught:
        read_header(write(tmp_path, text))
    assert len(str(caught.value)) < 900 + len(str(tmp_path))


@pytest.mark.parametrize("name", ["no", "on", "Yes", "true", "1e3", "2024-01-05", "1:30"])
def test_a_name_is_the_text_that_is_written(tmp_path: Path, name: str) -> None:
    header = read_header(write(tmp_path, f"name: {name}\nclasses:\n - {{id: 0, name: {name}, color: '#ff0000'}}\n"))
    assert (header.name, header.classes.names) == (name, (name,))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_header(tmp_path / "dataset.yaml")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1 mm", Length(1, "mm")),
        ("0.5mm", Length(0.5, "mm")),
        ("500 um", Length(500, "um")),
        ("500 \u00b5m", Length(500, "um")),
        ("500 \u03bcm", Length(500, "um")),
        (" .5 mm ", Length(0.5, "mm")),
        ("512 px", Length(512, "px")),
        (512, Length(512, "px")),
        (512.0, Length(512, "px")),
    ],
)
def test_what_users_write(text: str | float, length: Length) -> None:
    assert parse_length(text) == length
    assert parse_length(length) is length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512",
        "mm",
        "-1 mm",
        "0 mm",
        "1 cm",
        "1,5 mm",
        "nan px",
        "inf mm",
        "12.5 px",
        0,
        -3,
        1.5,
        True,
        None,
        "9" * 400 + " mm",
    ],
)
def test_anything_else_is_one_sentence(text: Any) -> None:
    with pytest.raises(InputError, match="expected a positive number with its unit") as caught:
        parse_length(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "pixel_size_um", "multiple", "px"),
    [
        ("0.5 mm", 1.0, 16, 512),
        ("1 mm", 8.0, 16, 128),
        ("512 px", 1.0, 16, 512),
        ("512 px", None, 16, 512),
        ("500 px", None, 16, 512),
        ("512 um", 1.0, 16, 512),
        ("513 um", 1.0, 16, 528),
        ("0.5 mm", 1.0, 1, 500),
        ("0.5 mm", 0.13, 1, 3847),
        ("0.3 mm", 0.1, 1, 3000),  # 300 / 0.1 is 2999.9999999999995 in floating point, and 0.7 / 0.1 too large
        ("0.7 um", 0.1, 1, 7),
        ("2.1 um", 0.7, 1, 3),
        ("1 um", 5.0, 16, 16),
    ],
)
def test_pixels_are_rounded_up_to_the_multiple(text: str, pixel_size_um: float | None, multiple: int, px: int) -> None:
    assert parse_length(text).to_px(pixel_size_um, multiple) == px


def test_a_physical_length_needs_a_pixel_size() -> None:
    with pytest.raises(InputError, match=r"the length 0\.5 mm needs a pixel size"):
        parse_length("0.5 mm").to_px(None, 16)
