import pandas as pd
import pytest

from taba_utils import paper
from taba_utils.report import tables

TIDY = pd.DataFrame(
    [
        (model, seed, start, value + seed + (start == "latent"))
        for model, value in (("zebra", 1.0), ("ant", 5.0))
        for seed in (0, 1, 2)
        for start in ("noise", "latent")
    ],
    columns=["model", "seed", "start", "error"],
)


def test_numbers_are_rounded_and_text_whole_numbers_and_truths_are_not():
    frame = pd.DataFrame({"name": ["a"], "count": [4000], "error": [0.12345], "exact": [True]})
    assert tables.show(frame).data.iloc[0].tolist() == ["a", "4000", "0.123", "True"]


def test_digits_go_by_column_on_any_level():
    frame = pd.DataFrame([[0.5, 0.25]], columns=pd.MultiIndex.from_product([["error"], ["mean", "share"]]))
    shown = tables.show(frame, digits={"share": ".0%", "error": 1})
    assert shown.data.iloc[0].tolist() == ["0.5", "0.2"]  # the outermost level comes first
    assert tables.show(frame, digits={"share": ".0%"}).data.iloc[0].tolist() == ["0.500", "25%"]


def test_digits_of_a_column_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"digits must name columns of \['x'\], got 'y'"):
        tables.show(pd.DataFrame({"x": [1.0]}), digits={"y": 2})


def test_a_missing_cell_says_so():
    frame = pd.DataFrame({"std": [float("nan")], "text": [None]})
    assert tables.show(frame, missing="no such pixels").data.iloc[0].tolist() == ["no such pixels"] * 2


def test_the_same_table_has_the_same_html_and_text_at_every_run():
    assert tables.show(TIDY, "Errors").to_html() == tables.show(TIDY.copy(), "Errors").to_html()
    assert repr(tables.show(TIDY, "Errors")) == repr(tables.show(TIDY.copy(), "Errors"))


def test_the_text_of_a_table_has_its_caption_and_no_counting_index():
    assert repr(tables.show(pd.DataFrame({"x": [0.5]}), "Errors")) == "Errors\n    x\n0.500"


def test_a_part_of_a_table_has_the_rows_with_these_values():
    assert tables.of(TIDY, model="ant", seed=[0, 2], start="noise")["error"].tolist() == [5, 7]
    with pytest.raises(ValueError, match=r"the table has the columns .*, got 'weight'"):
        tables.of(TIDY, weight=0.5)


def test_the_pixels_that_are_not_plain_are_called_other():
    frame = pd.DataFrame({"std_plain": [0.5], "std_rest": [1.0]}, index=pd.Index(["rest"], name="area"))
    shown = tables.show(frame, digits={"std_rest": 1}).data
    assert shown.columns.tolist() == ["std, plain", "std, other"]
    assert shown.index.tolist() == ["other"]
    assert shown["std, other"].tolist() == ["1.0"]
    assert frame.columns.tolist() == ["std_plain", "std_rest"]


def test_means_keep_the_order_of_appearance_and_leave_out_the_seed():
    means = tables.means(TIDY, "model")
    assert means.index.tolist() == ["zebra", "ant"]
    assert means.to_dict("list") == {"error": [2.5, 6.5]}


def test_the_standard_error_is_that_of_the_mean():
    found = tables.mean_and_error(TIDY[TIDY["start"] == "noise"], "model")
    assert found["error", "mean"].tolist() == [2, 6]
    assert found["error", "standard error"].tolist() == pytest.approx([3**-0.5] * 2)


def test_a_column_a_seed():
    wide = tables.by_seed(TIDY[TIDY["start"] == "noise"], "error", "model")
    assert wide.columns.tolist() == [0, 1, 2]
    assert wide.loc["ant"].tolist() == [5, 6, 7]


def test_two_rows_do_not_share_a_cell():
    with pytest.raises(ValueError, match=r"\['model', 'seed'\] must name one row, got 6 rows too many"):
        tables.by_seed(TIDY, "error", "model")


def test_pairs_are_of_the_same_model_and_seed():
    gaps = tables.paired(TIDY.sample(frac=1, random_state=0), ["error"], "start", ("latent", "noise"))
    assert gaps["error"].tolist() == [1] * 6
    alone = TIDY.drop(index=0)
    assert len(tables.paired(alone, ["error"], "start", ("latent", "noise"))) == 5


def test_the_papers_tables_have_the_printed_numbers_in_printed_order():
    shown = tables.paper(3, "model", "vertex", digits=0)
    assert shown.caption.startswith("Paper, Tab. 3: Most probable angles")
    assert shown.data.loc["ADM-32", ["image", "noise", "latent"]].tolist() == ["29", "28", "123"]
    assert shown.data.index.tolist() == list(dict.fromkeys(paper.table(3)["model"]))


def test_the_paper_is_asked_for_the_models_that_ours_stand_for():
    shown = tables.paper(2, "model", "quantity", 3, models=["mini-if", "mini-adm"], plus_minus=True)
    assert shown.data["latent"].to_dict() == {"IF": "0.498 ± 0.025", "ADM-32": "0.382 ± 0.010"}


def test_a_column_of_the_paper_may_be_narrowed_to_a_value_or_several():
    assert tables.paper(9, "model", "quantity", replaced=0).data.index.tolist() == ["DiT", "IF"]
    shown = tables.paper(9, "replaced", "quantity", model="DiT", replaced=[0, 1])
    assert shown.data.index.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"Tab. 9 has the columns \['model', .*, got 'vertex'"):
        tables.paper(9, "vertex", "quantity")
