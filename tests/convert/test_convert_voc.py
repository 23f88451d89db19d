import pytest
from written_sets import Picture, converted, expected, read_back, refused, save_image, voc_xml, write_voc

BOX = ((0, 1, 2, 20, 30),)
PICTURES = (
    Picture("a.jpg", 64, 48, BOX),
    Picture("b.jpg", 64, 48, ((1, 5, 40, 60, 44), *BOX)),
    Picture("c.jpg", 64, 48),
)


def write_split(folder, text):
    path = folder / "ImageSets/Main/train.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.fixture
def source(tmp_path):
    return write_voc(tmp_path, PICTURES)


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("named", ["ImageSets/Main/train.txt", "{}/ImageSets/Main/train.txt"])
def test_a_split_takes_its_images_and_keeps_the_ids_of_the_whole(named, source, tmp_path, capsys):
    write_split(tmp_path, "b\n\nc \n")
    edit(tmp_path / "Annotations/b.xml", "<name>cat</name>", "<name>zebra</name>")
    said = converted(capsys, [*source, "--split", named.format(tmp_path)], tmp_path / "new")
    assert said[:3] == [
        f"{tmp_path}/new: 2 images, 2 boxes",
        "classes: cat (id 0) 0, dog (id 1) 1, zebra (id 2) 1",
        "images without boxes: 1",
    ]
    assert list(read_back(tmp_path / "new")) == ["b.jpg", "c.jpg"]


def test_names_get_their_ids_in_alphabetical_order(tmp_path, capsys):
    names = ("h", "c", "a", "f", "b", "g", "d", "e")
    boxes = tuple((code, 1, 2, 20, 30) for code in range(8))
    said = converted(capsys, write_voc(tmp_path / "s", [Picture("a.jpg", 64, 48, boxes)], names), tmp_path / "new")
    assert said[1] == "classes: " + ", ".join(f"{name} (id {number}) 1" for number, name in enumerate("abcdefgh"))


def test_a_split_with_wrong_lines_is_refused(source, tmp_path, capsys):
    split = write_split(tmp_path, "a\nd\nb 1\na\nc  -1\n")
    assert refused(capsys, [*source, "--split", str(split)], tmp_path) == [
        f"{split} line 2: there is no {tmp_path}/Annotations/d.xml. Add the file or remove the line.",
        *(
            f"{split} line {line}: got {got!r}; expected the name of an image alone. Lists of one class have a second "
            "column; use that of all images, such as train.txt."
            for line, got in ((3, "b 1"),)
        ),
        f"{split} line 4: 'a' is there already ({split} line 1). Remove one of the two.",
        f"{split} line 5: got 'c  -1'; expected the name of an image alone. Lists of one class have a second column; "
        "use that of all images, such as train.txt.",
    ]


def test_a_split_that_is_not_there_is_refused(source, tmp_path, capsys):
    assert refused(capsys, [*source, "--split", "val.txt"], tmp_path) == [
        "val.txt: does not exist. Expected a text file with one name of an image a line."
    ]


def test_names_give_the_ids_and_other_classes_are_refused(source, tmp_path, capsys):
    converted(capsys, [*source, "--names", "dog, cat"], tmp_path / "new")
    assert (
        '"categories":[{"id":0,"name":"dog"},{"id":1,"name":"cat"}]' in (tmp_path / "new/annotations.json").read_text()
    )
    assert read_back(tmp_path / "new") == expected(PICTURES)
    assert refused(capsys, [*source, "--names", "dog,horse,dog"], tmp_path) == [
        "--names, name 3: the name 'dog' is there already (--names, name 1). Give every class a name of its own.",
        *(
            f"{tmp_path}/Annotations/{place}: the class 'cat' is not among those of --names ('dog', 'horse'). Add it "
            "there or correct it."
            for place in ("a.xml line 4", "b.xml line 8")
        ),
    ]


def test_difficult_objects_are_kept_or_on_request_ignored_or_left_out(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/b.xml", "<name>dog</name>", "<name>dog</name><difficult>1</difficult>")
    edit(tmp_path / "Annotations/a.xml", "<name>cat</name>", "<name>cat</name><difficult>0</difficult>")
    said = converted(capsys, source, tmp_path / "kept")
    assert said[3] == "kept as they are, objects marked as difficult: 1"
    assert read_back(tmp_path / "kept") == expected(PICTURES)
    said = converted(capsys, [*source, "--drop-difficult"], tmp_path / "left")
    assert said[1] == "classes: cat (id 0) 2, dog (id 1) 0"
    assert said[3] == "left out, objects marked as difficult: 1"
    assert read_back(tmp_path / "left") == expected((PICTURES[0], Picture("b.jpg", 64, 48, BOX), PICTURES[2]))
    said = converted(capsys, [*source, "--ignore-difficult"], tmp_path / "ignored")
    assert said[1] == "classes: cat (id 0) 2, dog (id 1) 0"
    assert said[3:5] == [
        "regions to ignore, which are neither learned nor counted as mistakes: 1",
        "made regions to ignore, objects marked as difficult: 1",
    ]
    assert read_back(tmp_path / "ignored") == expected(PICTURES)
    assert (tmp_path / "ignored/annotations.json").read_text().count('"iscrowd":1') == 1


def test_images_without_an_xml_file_are_not_converted_but_counted(source, tmp_path, capsys):
    save_image(tmp_path / "JPEGImages/spare.jpg", 64, 48)
    for name in (".hidden.jpg", "Thumbs.db"):
        (tmp_path / "JPEGImages" / name).write_text("")
    said = converted(capsys, source, tmp_path / "new")
    assert said[3] == "images that no XML file is for, not converted: 1"
    assert not (tmp_path / "new/images/spare.jpg").exists()


def test_an_image_that_was_renamed_is_found_by_the_name_of_its_xml_file(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/a.xml", "<filename>a.jpg", "<filename>IMG_001.jpg")
    edit(tmp_path / "Annotations/b.xml", "<filename>b.jpg</filename>", "")
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_an_image_that_is_nowhere_is_told(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/a.xml", "<filename>a.jpg", "<filename>IMG_001.jpg")
    edit(tmp_path / "Annotations/b.xml", "<filename>b.jpg</filename>", "")
    edit(tmp_path / "Annotations/c.xml", "<filename>c.jpg", "<filename>../d.jpg")
    for letter in "abc":
        (tmp_path / f"JPEGImages/{letter}.jpg").unlink()
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/Annotations/b.xml: names no image, and there is no {tmp_path}/JPEGImages/b.jpg or .png. Add a "
        "<filename>.",
        f"{tmp_path}/Annotations/a.xml: {tmp_path}/JPEGImages/IMG_001.jpg does not exist. Add the file or remove its "
        "entry.",
        f"{tmp_path}/Annotations/c.xml: '../d.jpg' contains \"..\". Expected a path below JPEGImages/.",
    ]


def test_two_files_for_one_image_are_refused(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/b.xml", "<filename>b.jpg", "<filename>a.jpg")
    (tmp_path / "JPEGImages/b.jpg").unlink()
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/Annotations/b.xml: {tmp_path}/JPEGImages/a.jpg is the image of {tmp_path}/Annotations/a.xml "
        "already. Merge the two, or remove one."
    ]


def test_a_stale_name_of_another_image_is_refused_unless_it_is_said_what_decides(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/a.xml", "<filename>a.jpg", "<filename>b.jpg")
    edit(tmp_path / "Annotations/b.xml", "<filename>b.jpg", "<filename>a.jpg")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/Annotations/{file}.xml line 2: <filename> is '{named}.jpg', but the file is called like "
        f"'{file}.jpg', and both are in {tmp_path}/JPEGImages: it may be either's. Correct it, or say what decides "
        "with --image-by content or --image-by name."
        for file, named in ("ab", "ba")
    ]
    converted(capsys, [*source, "--image-by", "name"], tmp_path / "by_name")
    assert read_back(tmp_path / "by_name") == expected(PICTURES)
    converted(capsys, [*source, "--image-by", "content"], tmp_path / "by_content")
    assert read_back(tmp_path / "by_content")["a.jpg"] == expected(PICTURES)["b.jpg"]


def test_names_that_are_no_images_or_agree_with_the_file_are_no_contradiction(source, tmp_path, capsys):
    """Renamed images, XML files that are numbered for themselves, and names without the folders of their images."""
    edit(tmp_path / "Annotations/a.xml", "<filename>a.jpg", "<filename>IMG_7.jpg")
    (tmp_path / "Annotations/b.xml").rename(tmp_path / "Annotations/000001.xml")
    save_image(tmp_path / "JPEGImages/sub/c.jpg", 20, 10)
    (tmp_path / "Annotations/sub").mkdir()
    (tmp_path / "Annotations/sub/c.xml").write_text(voc_xml(Picture("c.jpg", 20, 10)))
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected((*PICTURES, Picture("sub/c.jpg", 20, 10)))


def test_a_stale_path_is_counted_and_the_names_are_followed(source, tmp_path, capsys):
    for name, path in (("a", "C:\\shots\\b.jpg"), ("b", "/home/me/IMG_1.jpg"), ("c", "/home/me/c.jpg")):
        edit(tmp_path / f"Annotations/{name}.xml", "<size>", f"<path>{path}</path><size>")
    said = converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)
    assert "files whose path names another image, which is there too; <filename> was followed: 1" in said


def test_names_of_a_split_are_found_in_another_form_or_similar_ones_are_offered(source, tmp_path, capsys):
    decomposed, composed = "cafe\u0301teria", "caf\u00e9teria"
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (tmp_path / folder / f"b.{suffix}").rename(tmp_path / folder / f"{decomposed}.{suffix}")
    edit(tmp_path / f"Annotations/{decomposed}.xml", "<filename>b.jpg", f"<filename>{decomposed}.jpg")
    split = write_split(tmp_path, f"{composed}\nA\n")
    said = converted(capsys, [*source, "--split", str(split)], tmp_path / "new")
    assert sorted(read_back(tmp_path / "new")) == ["a.jpg", f"{decomposed}.jpg"]
    assert (
        f"names in the split that are written in another Unicode form, such as {composed!r} for {decomposed!r}: 1"
        in said
    )
    split.write_text("cafteria\n")
    assert refused(capsys, [*source, "--split", str(split)], tmp_path)[0] == (
        f"{split} line 1: there is no {tmp_path}/Annotations/cafteria.xml. Did you mean {decomposed!r}? Add the file "
        "or remove the line."
    )


OUTLINES = {
    "cvat": (
        "<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>20</ymax></bndbox><attributes><attribute>"
        "<name>rotation</name><value>90.0</value></attribute></attributes>",
        (15, 5, 25, 25),
    ),
    "rolabelimg": (
        "<robndbox><cx>20</cx><cy>15</cy><w>20</w><h>10</h><angle>1.5707963267948966</angle></robndbox>",
        (15, 5, 25, 25),
    ),
    "rotation": (
        "<rotation>-90</rotation><bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>",
        (15, 5, 25, 25),
    ),
    "roboflow": (
        "<polygon><x1>15</x1><y1>5</y1><x2>25</x2><y2>7</y2><x3>20</x3><y3>25</y3></polygon>",
        (15, 5, 25, 25),
    ),
    "labelme": (
        "<polygon><pt><x>15</x><y>5</y></pt><pt><x>25</x><y>7</y></pt><pt><x>20</x><y>25</y></pt></polygon>",
        (15, 5, 25, 25),
    ),
}


@pytest.mark.parametrize("tool", OUTLINES)
def test_outlines_are_refused_or_on_request_the_boxes_around_them_taken(tool, source, tmp_path, capsys):
    shape, box = OUTLINES[tool]
    edit(tmp_path / "Annotations/c.xml", "</annotation>", f"<object><name>cat</name>{shape}</object></annotation>")
    what = "a polygon" if "polygon" in shape else "a rotated box"
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/Annotations/c.xml line 4, image 'c.jpg': is {what}; expected an upright box. --polygons enclosing "
        "takes the box around each such outline."
    ]
    said = converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert f"boxes around outlines, as --polygons enclosing asks ({what} 1): 1" in said
    ((label, *found),) = read_back(tmp_path / "new")["c.jpg"][2]
    assert label == "cat"
    assert found == pytest.approx(box, abs=1e-9)


def test_boxes_that_are_not_turned_or_have_an_outline_besides_are_boxes(source, tmp_path, capsys):
    still = "<attributes><attribute><name>rotation</name><value>0.0</value></attribute></attributes>"
    still += "<rotation>360</rotation><angle>front</angle>"
    polygon = "<polygon><x1>2</x1><y1>3</y1><x2>19</x2><y2>3</y2><x3>9</x3><y3>30</y3></polygon>"
    edit(tmp_path / "Annotations/a.xml", "</object>", f"{still}{polygon}<occluded>1</occluded></object>")
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_a_turn_in_an_unknown_unit_is_refused(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/a.xml", "</object>", "<angle>0.5</angle></object>")
    assert refused(capsys, [*source, "--polygons", "enclosing"], tmp_path) == [
        f"{tmp_path}/Annotations/a.xml line 7: angle is '0.5', so the box is turned, in degrees or not. Write the "
        "upright box around the object and leave it out, or call it rotation, in degrees."
    ]


def test_objects_that_were_deleted_are_left_out_and_counted(source, tmp_path, capsys):
    edit(tmp_path / "Annotations/a.xml", "</object>", "<deleted>1</deleted></object>")
    said = converted(capsys, source, tmp_path / "new")
    assert "left out, objects marked as deleted: 1" in said
    assert read_back(tmp_path / "new")["a.jpg"][2] == []


def test_an_xml_file_of_another_tool_is_named(source, tmp_path, capsys):
    (tmp_path / "Annotations/a.xml").write_text("<annotations><image><box rotation='3'/></image></annotations>")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/Annotations/a.xml line 1: its root is <annotations>; expected <annotation>. It looks like CVAT's "
        "own format: export the task as 'COCO 1.0' or 'PASCAL VOC 1.1'."
    ]


def test_fractions_sizes_of_0_and_parts_within_objects_are_read_as_the_format_has_them(source, tmp_path, capsys):
    path = tmp_path / "Annotations/a.xml"
    edit(path, "<xmin>2</xmin>", "<xmin>45.700000762939453</xmin>")
    edit(path, "<xmax>20</xmax>", "<xmax> 5e1 </xmax>")
    edit(path, "<width>64</width><height>48</height>", "<width>0</width>")
    edit(path, "</object>", "<part><name>head</name><bndbox><xmin>x</xmin></bndbox></part></object>")
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new")["a.jpg"] == (64, 48, [("cat", 44.700000762939453, 2, 50, 30)])


def test_what_cannot_be_read_in_an_object_is_told_by_its_line(source, tmp_path, capsys):
    (tmp_path / "Annotations/a.xml").write_text(
        """<annotation>
        <filename>a.jpg</filename>
        <size>
            <width>64 px</width><height>48</height>
        </size>
        <object>
            <name> </name>
            <bndbox>
                <xmin>1</xmin>
                <ymin>nan</ymin>
                <xmax>1_0</xmax>
            </bndbox>
        </object>
        <object>
            <name>cat</name>
            <polygon><x1>1</x1></polygon>
            <difficult>yes</difficult>
        </object>
        <object>
            <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax><ymax>3</ymax></bndbox>
        </object>
        </annotation>""".replace("\n        ", "\n")
    )
    file = f"{tmp_path}/Annotations/a.xml"
    assert refused(capsys, source, tmp_path) == [
        f"{file} line 10: <ymin> is 'nan'; expected a number of pixels. Correct it there.",
        f"{file} line 11: <xmax> is '1_0'; expected a number of pixels. Correct it there.",
        f"{file} line 8: has no <ymax>; expected one in <bndbox>. Correct it there.",
        f"{file} line 7: the class's name is empty; expected one line of at most 300 characters. Correct it there.",
        f"{file} line 14: has no <bndbox>; expected one in <object>. Correct it there.",
        f"{file} line 17: <difficult> is 'yes'; expected 0 or 1. Correct it there.",
        f"{file} line 19: has no <name>; expected one in <object>. Correct it there.",
        f"{file} line 20: has 2 <ymax>; expected one in <bndbox>. Correct it there.",
        f"{file} line 4: <width> is '64 px'; expected a whole number of pixels. Correct it there.",
    ]


def test_files_that_are_no_annotation_are_told_together(source, tmp_path, capsys):
    folder = tmp_path / "Annotations"
    (folder / "a.xml").write_text("<annotation>\n<object>\n</annotation>")
    (folder / "b.xml").write_text("<html></html>")
    (folder / "c.xml").write_text(
        '<!DOCTYPE annotation [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n' + voc_xml(PICTURES[2], extra="&b;")
    )
    assert refused(capsys, source, tmp_path) == [
        f"{folder}/a.xml line 3, column 3: is not XML (mismatched tag). Expected an XML file of Pascal VOC: correct it "
        "or remove it.",
        f"{folder}/b.xml line 1: its root is <html>; expected <annotation>. Correct it or remove the file.",
        f"{folder}/c.xml line 1: declares a document type (DOCTYPE). Expected an XML file of Pascal VOC: correct it or "
        "remove it.",
    ]


def test_a_folder_without_annotations_is_refused(tmp_path, capsys):
    assert refused(capsys, ["voc", str(tmp_path)], tmp_path) == [
        f"{tmp_path}/JPEGImages: does not exist. Expected the folder of the images.",
        f"{tmp_path}/Annotations: does not exist. Expected the folder of the XML files.",
    ]
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    assert refused(capsys, ["voc", str(tmp_path)], tmp_path) == [
        f"{tmp_path}/Annotations: holds no .xml file. Expected one for each image."
    ]


def test_images_and_xml_files_may_lie_elsewhere_and_together(source, tmp_path, capsys):
    (tmp_path / "all").mkdir()
    for path in [*tmp_path.glob("JPEGImages/*"), *tmp_path.glob("Annotations/*")]:
        path.rename(tmp_path / "all" / path.name)
    places = ["--images", str(tmp_path / "all"), "--annotations", str(tmp_path / "all")]
    converted(capsys, [*source, *places], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)
