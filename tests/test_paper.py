"""The paper's tables against a second transcription, against totals of rows, and against the paper's text."""

import numpy as np
import pandas as pd
import pytest

from taba_utils import paper

MODELS = "ADM-32 ADM-64 ADM-256 IF LDM DiT"
WITHOUT_IF = "ADM-32 ADM-64 ADM-256 LDM DiT"
REPLACED = "0 1 3 5 10 50"
JUDGES = "DreamSim | LPIPS | SSIM | DINO | CLIP-T source | CLIP-T target"
NUMERIC_TABLES = range(2, 14)

# Typed in a second time, and the other way round: a column of a file of `taba_utils/paper/tables` is a line here.
# Table: (what distinguishes the lines, what runs along a line, its labels, the lines).
SECOND = {
    2: (["quantity"], "model", MODELS, """
        noise:  .039±.003  .039±.003  .039±.003  .039±.003  .039±.003  .041±.003
        latent: .382±.010  .126±.008  .161±.013  .498±.025  .045±.014  .103±.021
        image:  .964±.022  .925±.021  .960±.008  .936±.019  .645±.099  .748±.064
    """),
    3: (["vertex"], "model", MODELS, """
        image:   29  11 24  34   2   4
        noise:   28  60 73  40  76  66
        latent: 123 109 83 106 102 110
    """),
    4: (["quantity"], "model", "noise DiT LDM IF ADM-256 ADM-64 ADM-32", """
        variance: 1 .89±1.29 .98±1.40 .29±.53 .82±1.27 .71±1.05 .18±.33
    """),
    5: (["quantity", "area"], "model", MODELS, """
        error, plain:     .49 .22 .39 .56 .13 .12
        error, non-plain: .43 .15 .29 .40 .03 .06
        std, plain:       .34 .49 .53 .46 .45 .43
        std, non-plain:   .46 .64 .66 .72 .59 .54
    """),
    6: (["model", "first_step", "last_step"], "area", "plain non-plain", """
        ADM-64, 1, 50: 15.11 12.43
        ADM-64, 1, 5:   9.23  6.80
        ADM-64, 6, 50:  5.87  5.63
        DiT, 1, 50:     5.67  3.16
        DiT, 1, 5:      3.41  1.42
        DiT, 6, 50:     2.23  1.74
    """),
    7: (["model", "start"], "quantity", JUDGES, """
        DiT, noise:  .71±.12 .59±.12 .23±.13 .17 .456 .689
        DiT, latent: .69±.13 .57±.12 .25±.14 .20 .543 .568
        IF, noise:   .67±.10 .39±.11 .31±.15 .33 0 0
        IF, latent:  .64±.11 .36±.11 .35±.15 .38 0 0
    """),
    8: (["direction"], "model", MODELS, """
        image to noise:  98.9±1.2 100±0    100±0    99.8±.2  100±0 100±0
        noise to image:  50.4±1.9 59.0±7.1 23.2±4.8 52.6±5.9 100±0 90.7±10.1
        image to latent: 16.4±6.1 8.6±9.3  4.1±1.4  3.1±1.8  100±0 99.5±1.7
        latent to image: 33.4±2.7 57.5±7.3 23.9±5.0 50.0±5.6 100±0 90.7±10.3
    """),
    9: (["model", "quantity"], "replaced", REPLACED, """
        DiT, correlation: .16 .16 .10 .07 .04 .04
        DiT, image error: .05 .05 .05 .05 .05 0
        DiT, noise error: .15 .15 .08 .06 .03 0
        DiT, KL:          .011 .011 .004 .002 .001 0
        IF, correlation:  .64 .61 .15 .09 .05 .05
        IF, image error:  .07 .07 .07 .07 .07 0
        IF, noise error:  .55 .51 .19 .12 .07 0
        IF, KL:           .60 .56 .06 .03 .01 0
    """),
    10: (["vertex", "T"], "model", WITHOUT_IF, """
        image, 10:    44  30  24  23  27
        image, 100:   29  11  24   2   4
        image, 1000:  20   6  23   1   1
        noise, 10:    16  31  50  53  47
        noise, 100:   28  60  73  76  66
        noise, 1000:  45  79  73  83  80
        latent, 10:  120 119 106 104 106
        latent, 100: 123 109  83 102 110
        latent, 1000: 115 95  84  96  99
    """),
    11: (["direction", "T"], "model", WITHOUT_IF, """
        image to noise, 10:    90.3±6.3 99.4±0 100±0 100±0 100±0
        image to noise, 100:   98.9±1.2 100±0 100±0 100±0 100±0
        image to noise, 1000:  99.1±1.0 99.8±.2 100±0 100±0 100±0
        image to noise, 4000:  99.1±1.0 99.5±.3 - - -
        noise to image, 10:    94.0±2.6 100±0 39.2±6.2 100±0 93.7±7.2
        noise to image, 100:   50.4±1.9 59.0±7.1 23.2±4.8 100±0 90.7±10.1
        noise to image, 1000:  46.8±3.0 44.6±6.3 25.0±4.4 100±0 96.7±4.6
        noise to image, 4000:  46.4±3.0 43.3±6.7 - - -
        image to latent, 10:   66.4±1.7 64.4±7.1 .7±.2 100±0 99.8±.6
        image to latent, 100:  16.4±6.1 8.6±9.3 4.1±1.4 100±0 99.5±1.7
        image to latent, 1000: 3.6±2.2 1.7±1.3 23.9±5.2 100±0 100±.2
        image to latent, 4000: 2.8±2.2 1.9±1.4 - - -
        latent to image, 10:   38.2±5.1 100±0 30.8±4.3 100±0 95.1±6.4
        latent to image, 100:  33.4±2.7 57.5±7.3 23.9±5.0 100±0 90.7±10.3
        latent to image, 1000: 40.9±2.7 44.7±6.5 25.4±4.4 100±0 96.6±4.6
        latent to image, 4000: 41.9±3.0 43.5±6.5 - - -
    """),
    12: (["model", "quantity"], "replaced", REPLACED, """
        DiT, FID:       19.68 19.70 18.29 17.51 16.79 16.61
        DiT, precision: .79 .80 .80 .81 .81 .80
        DiT, recall:    .41 .41 .43 .43 .45 .47
    """),
    13: (["model", "quantity"], "replaced", REPLACED, """
        DiT, DreamSim:      .68±.13 .68±.13 .68±.13 .69±.13 .69±.13 .71±.12
        DiT, LPIPS:         .56±.13 .56±.13 .57±.13 .57±.13 .57±.13 .59±.12
        DiT, SSIM:          .26±.15 .26±.15 .26±.15 .26±.15 .25±.14 .23±.13
        DiT, DINO:          .22 .22 .22 .22 .20 .17
        DiT, CLIP-T source: .543 .471 .468 .465 .462 .456
        DiT, CLIP-T target: .568 .667 .673 .676 .681 .689
        IF, DreamSim:       .61±.12 .61±.12 .64±.11 .64±.11 .65±.10 .66±.10
        IF, LPIPS:          .33±.11 .33±.11 .36±.11 .36±.11 .36±.11 .38±.11
        IF, SSIM:           .41±.14 .40±.14 .38±.13 .37±.13 .37±.13 .34±.14
        IF, DINO:           .42 .41 .39 .38 .37 .34
        IF, CLIP-T source:  .353 .352 .334 .327 .313 .273
        IF, CLIP-T target:  .614 .615 .632 .637 .645 .649
    """),
}  # fmt: skip

MODEL_ZOO = {
    "ADM-32": "Pixel 32×32 - CIFAR-10 no U-Net",
    "ADM-64": "Pixel 64×64 - ImageNet no U-Net",
    "ADM-256": "Pixel 256×256 - ImageNet no U-Net",
    "LDM": "Latent 256×256 3×64×64 CelebA no U-Net",
    "DiT": "Latent 256×256 4×32×32 ImageNet yes DiT",
    "IF": "Pixel 64×64 - LAION-A yes U-Net",
}

# All numbers of a printed row, means and spreads, added up by a script that read the paper's text.
# Table: (what distinguishes the printed rows, their sums from top to bottom).
ROW_TOTALS = {
    2: (["model"], [1.42, 1.122, 1.184, 1.52, 0.845, 0.98]),
    3: (["model"], [180, 180, 180, 180, 180, 180]),
    4: (["quantity"], [10.74]),
    5: (["model"], [1.72, 1.5, 1.87, 2.14, 1.2, 1.15]),
    6: (["first_step", "last_step", "area"], [20.78, 15.59, 12.64, 8.22, 8.1, 7.37]),
    7: (["quantity"], [3.17, 2.37, 1.71, 1.08, 0.999, 1.257]),
    8: (["model"], [211.0, 248.8, 162.4, 219.0, 400.0, 403.0]),
    9: (["replaced"], [2.231, 2.121, 0.704, 0.492, 0.321, 0.09]),
    10: (["model", "T"], [180] * 15),
    11: (["T"], [1659.7, 1425.2, 1395.4, 402.5]),
    12: (["replaced"], [20.88, 20.91, 19.52, 18.75, 18.05, 17.88]),
    13: (
        ["model", "replaced"],
        [3.241, 3.268, 3.281, 3.291, 3.253, 3.215, 3.107, 3.087, 3.086, 3.064, 3.048, 2.992],
    ),
}

CELLS = {1: 36, 2: 18, 3: 18, 4: 7, 5: 24, 6: 12, 7: 24, 8: 24, 9: 48, 10: 45, 11: 68, 12: 18, 13: 72}


def second_transcription(number: int) -> dict[frozenset[tuple[str, str]], tuple[float, float]]:
    """Every cell of `SECOND[number]`: its keys, as text -> (value, spread or NaN)."""
    keys, along, labels, lines = SECOND[number]
    labels = labels.split(" | ") if " | " in labels else labels.split()
    cells = {}
    for line in lines.strip().splitlines():
        names, numbers = line.split(":")
        fixed = dict(zip(keys, (name.strip() for name in names.split(",")), strict=True))
        for label, cell in zip(labels, numbers.split(), strict=True):
            if cell != "-":
                value, _, spread = cell.partition("±")
                cells[frozenset({**fixed, along: label}.items())] = float(value), float(spread or "nan")
    return cells


def printed_cells(frame: pd.DataFrame) -> dict[frozenset[tuple[str, str]], tuple[float, float]]:
    """The same form of a table of the package; two rows with equal keys are an error."""
    cells = {}
    for row in frame.to_dict("records"):
        value, spread = row.pop("value"), row.pop("spread", float("nan"))
        key = frozenset((name, str(label)) for name, label in row.items())
        assert key not in cells
        cells[key] = value, spread
    return cells


def wide(number: int, columns: str) -> pd.DataFrame:
    """Values with the labels of `columns` side by side, the rest as index."""
    frame = paper.table(number).drop(columns="spread", errors="ignore")
    index = [name for name in frame if name not in (columns, "value")]
    return frame.pivot(index=index, columns=columns, values="value")


@pytest.mark.parametrize("number", NUMERIC_TABLES)
def test_two_transcriptions_agree_in_every_cell(number):
    first, second = printed_cells(paper.table(number)), second_transcription(number)
    assert first.keys() == second.keys()
    for key, cell in second.items():
        np.testing.assert_equal(first[key], cell, err_msg=f"Tab. {number}, {sorted(key)}")


def test_two_transcriptions_of_the_model_zoo_agree():
    columns = paper.table(1).groupby("model", sort=False)["value"].agg(" ".join)
    assert list(columns.items()) == list(MODEL_ZOO.items())


@pytest.mark.parametrize("number", NUMERIC_TABLES)
def test_the_numbers_of_a_printed_row_add_up_to_its_total(number):
    keys, totals = ROW_TOTALS[number]
    frame = paper.table(number)
    frame["both"] = frame.filter(["value", "spread"]).sum(axis=1)
    np.testing.assert_allclose(frame.groupby(keys, sort=False)["both"].sum(), totals, atol=1e-9)


@pytest.mark.parametrize("number", CELLS)
def test_every_printed_cell_is_a_row(number):
    assert len(paper.table(number)) == CELLS[number]


@pytest.mark.parametrize("number", [3, 10])
def test_angles_of_a_triangle_sum_to_180_degrees(number):
    assert (wide(number, "vertex").sum(axis=1) == 180).all()


@pytest.mark.parametrize(("number", "longer"), [(3, 10), (8, 11)])
def test_a_table_at_100_steps_is_repeated_in_the_appendix_without_if(number, longer):
    at_100_steps = paper.table(longer).query("T == 100").drop(columns="T").reset_index(drop=True)
    without_if = paper.table(number).query("model != 'IF'").reset_index(drop=True)
    pd.testing.assert_frame_equal(at_100_steps, without_if)


def test_only_adm_256_lacks_the_obtuse_angle_by_the_latent():
    angles = wide(3, "vertex")
    assert (angles[["image", "noise"]] < 90).all(axis=None)
    assert list(angles.index[angles.latent <= 90]) == ["ADM-256"]


def test_images_correlate_more_than_latents_and_latents_more_than_noise():
    correlation = wide(2, "quantity")
    assert (correlation.noise < correlation.latent).all() and (correlation.latent < correlation.image).all()


def test_noise_correlation_is_the_floor_at_8192_samples():
    noise = wide(2, "quantity").noise
    for model, factor in {"ADM-32": 3.53, "DiT": 3.68}.items():  # 3 and 4 channels
        assert (
            abs(noise[model] - factor / np.sqrt(8192)) < 5e-4 < abs(noise[model] - factor / np.sqrt(10_000))
        )


def test_latents_vary_less_than_noise_and_their_spread_is_that_of_squares():
    variance = paper.table(4).set_index("model")
    latents = variance.drop("noise")
    assert variance.value["noise"] == 1 and (latents.value < 1).all()
    assert (latents.spread / latents.value).between(np.sqrt(2), 1.9).all()


def test_plain_areas_have_more_error_and_less_spread_than_others():
    by_area = wide(5, "area")
    assert (by_area.plain["error"] > by_area["non-plain"]["error"]).all()
    assert (by_area.plain["std"] < by_area["non-plain"]["std"]).all()


def test_pooled_deviation_lies_between_the_areas_for_adm_32_and_if_only():
    pooled = np.sqrt(paper.table(4).set_index("model")["value"].drop("noise"))
    std = wide(5, "area").loc["std"].loc[pooled.index]
    inside = pooled.between(std.plain, std["non-plain"])
    assert sorted(inside.index[inside]) == ["ADM-32", "IF"]
    assert (pooled > std["non-plain"]).loc[~inside].all()


def test_first_and_later_steps_sum_to_the_whole_but_for_plain_areas_of_dit():
    parts = wide(6, "area").unstack(["first_step", "last_step"])
    gap = {
        (area, model): abs(row[1, 50] - row[1, 5] - row[6, 50])
        for area in ("plain", "non-plain")
        for model, row in parts[area].iterrows()
    }
    assert gap.pop(("plain", "DiT")) == pytest.approx(0.03)
    assert all(value < 0.015 + 1e-9 for value in gap.values())  # three numbers, each rounded to 0.01


def test_first_tenth_of_steps_outweighs_the_rest_but_for_textured_areas_of_dit():
    parts = wide(6, "model").unstack(["first_step", "last_step"])
    later_wins = {
        (area, model)
        for model in ("ADM-64", "DiT")
        for area, row in parts[model].iterrows()
        if row[1, 5] <= row[6, 50]
    }
    assert later_wins == {("non-plain", "DiT")}


def test_latents_edit_less_freely_than_noise():
    edits = wide(7, "start").drop(index=[("IF", "CLIP-T source"), ("IF", "CLIP-T target")])
    for (_, judge), row in edits.iterrows():
        assert (row.noise > row.latent) == (paper.BETTER[judge] == "higher")


def test_table_13_repeats_of_table_7_dit_from_noise_and_its_clip_cells_alone():
    edits = paper.table(7).set_index(["model", "start", "quantity"])
    longer = paper.table(13).replace({"replaced": {0: "latent", 50: "noise"}})
    longer = longer.rename(columns={"replaced": "start"}).set_index(["model", "start", "quantity"])
    same = {key for key in edits.index if edits.loc[key].equals(longer.loc[key])}
    judges = set(JUDGES.split(" | "))
    assert same == {("DiT", "noise", judge) for judge in judges} | {
        ("DiT", "latent", "CLIP-T source"),
        ("DiT", "latent", "CLIP-T target"),
    }


def test_clip_cells_of_if_are_zero_in_table_7_and_positive_in_table_13():
    if_clip = "model == 'IF' and quantity.str.startswith('CLIP')"
    assert (paper.table(7).query(if_clip).value == 0).all()
    assert paper.table(13).query(if_clip).value.between(0.27, 0.65).all()


def test_pixel_models_allow_image_to_noise_assignment_alone_and_latent_models_all_four():
    accuracy = wide(8, "direction")
    assert (accuracy["image to noise"] > 98).all()
    assert (accuracy.loc[["LDM", "DiT"]] > 90).all(axis=None)
    pixels = accuracy.drop(["LDM", "DiT"]).drop(columns="image to noise")
    assert (pixels < 60).all(axis=None)


def test_replacing_five_steps_cuts_the_correlation_as_the_text_says():
    correlation = wide(9, "quantity").correlation
    assert correlation["DiT", 5] / correlation["DiT", 0] < 0.50
    assert correlation["IF", 5] / correlation["IF", 0] < 0.15


def test_replacing_steps_lowers_noise_error_and_divergence_but_not_the_image_error():
    for _, rows in wide(9, "quantity").drop(index=50, level="replaced").groupby("model"):
        assert rows["noise error"].is_monotonic_decreasing and rows["KL"].is_monotonic_decreasing
        assert rows["image error"].nunique() == 1


def test_three_replaced_steps_close_about_half_of_the_interpolation_gap():
    fid = paper.table(12).query("quantity == 'FID'").set_index("replaced")["value"]
    assert (fid[0] - fid[3]) / (fid[0] - fid[50]) == pytest.approx(0.45, abs=0.005)


def test_dit_follows_the_source_prompt_less_after_one_replaced_step_and_changes_nowhere_else():
    dit = wide(13, "quantity").loc["DiT"]
    first_step, all_steps = dit.loc[1] - dit.loc[0], dit.loc[50] - dit.loc[0]
    clip = ["CLIP-T source", "CLIP-T target"]
    assert (first_step[clip] / all_steps[clip] > 0.8).all()
    assert (first_step.drop(clip) == 0).all()


@pytest.mark.parametrize("number", CELLS)
def test_every_table_says_where_it_stands_and_what_to_beware_of(number):
    attrs = paper.table(number).attrs
    assert set(attrs) == {"caption", "section", "note"}
    assert attrs["section"].startswith(("Sec. ", "App. "))
    assert attrs["caption"].endswith(".") and attrs["note"].endswith(".")


def test_a_changed_frame_leaves_the_table_as_it_was():
    frame = paper.table(2)
    frame["value"] = 0.0
    assert (paper.table(2).value > 0).all()


@pytest.mark.parametrize("number", [0, 14, -1, 2.5, "2", None])
def test_a_table_that_the_paper_lacks_is_refused(number):
    with pytest.raises(ValueError, match=f"number must be between 1 and 13 .*got {number!r}"):
        paper.table(number)


def test_every_model_of_the_paper_has_a_name_and_every_embedded_one_a_row():
    assert sorted(paper.REGISTRY.values()) == sorted(MODEL_ZOO)
    assert set(paper.EMBEDDED.values()) <= set(MODEL_ZOO)


def test_every_judge_has_its_arrow():
    judges = pd.concat([paper.table(number).quantity for number in (7, 12, 13)])
    assert set(judges) == set(paper.BETTER)
