"""The paper's Tables 1-13 as data: `table(2)` is a tidy DataFrame with the numbers as printed.

One row per printed number, always in a column `value` (text in Tab. 1). A column `spread` holds what
stands after the ±, where a table prints any; NaN in its cells without one. The other columns are

    Tab.     columns beside value and spread
    1        property, model
    2        model, quantity ("noise", "latent", "image")
    3, 10    model, vertex ("image", "noise", "latent": where the angle lies); T in Tab. 10
    4        quantity ("variance"), model (its last one is "noise")
    5        quantity ("error", "std"), model, area ("plain", "non-plain")
    6        area, first_step, last_step, model
    7        model, quantity (a judge, see BETTER), start ("noise", "latent": what generation started from)
    8, 11    model, direction ("image to noise", "noise to image", "image to latent", ...); T in Tab. 11
    9        model, replaced, quantity ("correlation", "image error", "noise error", "KL")
    12, 13   model, replaced, quantity (see BETTER)

`replaced` counts the first inversion steps, of T = 50, whose prediction was the sampler's own; the row that
the paper calls "Noise (100%)" has 50, for that gives the noise back.
"""

from __future__ import annotations

import pandas as pd

REGISTRY = {
    "adm-32": "ADM-32", "adm-64": "ADM-64", "adm-256": "ADM-256", "if": "IF", "ldm": "LDM", "dit": "DiT",
}  # fmt: skip
"""Name in `taba_utils.list_models()` -> model as the tables call it."""

EMBEDDED = {"mini-adm": "ADM-32", "mini-ldm": "LDM", "mini-dit": "DiT", "mini-if": "IF"}
"""Embedded model -> the paper's model that it stands for."""

BETTER = {
    "DreamSim": "higher", "LPIPS": "higher", "SSIM": "lower", "DINO": "lower",
    "CLIP-T source": "lower", "CLIP-T target": "higher",
    "FID": "lower", "precision": "higher", "recall": "higher",
}  # fmt: skip
"""The arrows of Tabs. 7, 12 and 13: more diverse against the source image, nearer to the target prompt."""


def table(number: int) -> pd.DataFrame:
    """Tab. `number` of the paper in long format, rows in printed order; a fresh frame at every call.

    Returns:
        A DataFrame with the columns listed in the module's docstring. Its `attrs` hold "caption" (first
        sentence of the printed one), "section", and "note": what to know before comparing with it.

    Raises:
        ValueError: the paper has no such table.
    """
    if number not in range(1, len(_TABLES) + 1):
        raise ValueError(f"number must be between 1 and {len(_TABLES)} (the paper's tables), got {number!r}")
    heading, note, cells = _TABLES[number].split("\n\n")
    section, caption = " ".join(heading.split()).split(": ", maxsplit=1)
    frame = _parse(cells)
    frame.attrs = {"section": section, "caption": caption, "note": " ".join(note.split())}
    return frame


def _parse(cells: str) -> pd.DataFrame:
    """Long form of a printed table: "row key | row key / column key | column | column", then its rows."""
    header, *rows = ([cell.strip() for cell in line.split("|")] for line in cells.strip().splitlines())
    corner = next(i for i, cell in enumerate(header) if " / " in cell)
    keys = [*header[:corner], *(key.strip() for key in header[corner].split(" / "))]
    long = [
        (*row[: corner + 1], column, *cell.partition("±")[::2])
        for row in rows
        for column, cell in zip(header[corner + 1 :], row[corner + 1 :], strict=True)
    ]
    frame = pd.DataFrame(long, columns=[*keys, "value", "spread"]).apply(_as_numbers)
    return frame.dropna(axis="columns", how="all")


def _as_numbers(column: pd.Series) -> pd.Series:
    """Numbers where every cell is one (or empty: NaN), the same text elsewhere."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


_TABLES = {
    1: """
    Sec. 3.1: Overview of diffusion models used for our experiments.

    The table says CelebA where the text says CelebA-HQ. The conditional models, DiT and IF, run without
    guidance (w = 1).

    property / model   | ADM-32   | ADM-64   | ADM-256   | LDM       | DiT       | IF
    Diffusion          | Pixel    | Pixel    | Pixel     | Latent    | Latent    | Pixel
    Image res.         | 32×32    | 64×64    | 256×256   | 256×256   | 256×256   | 64×64
    Latent res.        | -        | -        | -         | 3×64×64   | 4×32×32   | -
    Trainset           | CIFAR-10 | ImageNet | ImageNet  | CelebA    | ImageNet  | LAION-A
    Cond?              | no       | no       | no        | no        | yes       | yes
    Backbone           | U-Net    | U-Net    | U-Net     | U-Net     | DiT       | U-Net
    """,
    2: """
    Sec. 3.2: Mean of top-20 Pearson correlation coefficients inside 8×8 patches for random Gaussian
    noises, latent encodings, and generated samples.

    The noise column is the floor of the statistic, 3.53/√N for 3 channels and 3.68/√N for 4: its 0.039
    and 0.041 mean N ≈ 8192, not the stated 10000, and correlations compare only at equal N. In the
    authors' code the ± runs over patches and their top 20, not over images; T = 100.

    model / quantity | noise       | latent      | image
    ADM-32           | 0.039±0.003 | 0.382±0.010 | 0.964±0.022
    ADM-64           | 0.039±0.003 | 0.126±0.008 | 0.925±0.021
    ADM-256          | 0.039±0.003 | 0.161±0.013 | 0.960±0.008
    IF               | 0.039±0.003 | 0.498±0.025 | 0.936±0.019
    LDM              | 0.039±0.003 | 0.045±0.014 | 0.645±0.099
    DiT              | 0.041±0.003 | 0.103±0.021 | 0.748±0.064
    """,
    3: """
    Sec. 3.3: Most probable angles next to the Gaussian noise x_T, generations x_0, and latents x̂_T
    across different diffusion models.

    Degrees, T = 100: the modes of three histograms that together sum to 180; the authors' code sums the
    bins' left edges, so an angle is about one degree off. ADM-256 alone has no obtuse angle.

    model / vertex | image | noise | latent
    ADM-32         | 29    | 28    | 123
    ADM-64         | 11    | 60    | 109
    ADM-256        | 24    | 73    | 83
    IF             | 34    | 40    | 106
    LDM            | 2     | 76    | 102
    DiT            | 4     | 66    | 110
    """,
    4: """
    Sec. 3.3: Variance of the latent encodings (x̂_T) calculated with different models.

    The ± looks like the standard deviation of the squared elements (√2 times the variance for a
    Gaussian, more for heavier tails), not like a spread over images. The noise's 1 is by definition.

    quantity / model | ADM-32    | ADM-64    | ADM-256   | IF        | LDM       | DiT       | noise
    variance         | 0.18±0.33 | 0.71±1.05 | 0.82±1.27 | 0.29±0.53 | 0.98±1.40 | 0.89±1.29 | 1.00
    """,
    5: """
    Sec. 3.3: Average per-pixel absolute error (between noise and latent encodings) and standard
    deviation of the latents' pixels corresponding to the plain and non-plain areas in images.

    A pooled standard deviation lies between that of the two areas, but √(Tab. 4) does so for ADM-32 and
    IF only: for ADM-64, ADM-256, LDM and DiT it is above both, so the two tables are not of the same
    tensors. The image's range when the mask was taken (τ = 0.025) is not stated.

    quantity | model / area   | plain | non-plain
    error    | ADM-32         | 0.49  | 0.43
    error    | ADM-64         | 0.22  | 0.15
    error    | ADM-256        | 0.39  | 0.29
    error    | IF             | 0.56  | 0.40
    error    | LDM            | 0.13  | 0.03
    error    | DiT            | 0.12  | 0.06
    std      | ADM-32         | 0.34  | 0.46
    std      | ADM-64         | 0.49  | 0.64
    std      | ADM-256        | 0.53  | 0.66
    std      | IF             | 0.46  | 0.72
    std      | LDM            | 0.45  | 0.59
    std      | DiT            | 0.43  | 0.54
    """,
    6: """
    Sec. 3.4: Sum of the normalized diffusion model prediction error during the DDIM inversion for plain
    and non-plain pixels.

    Printed after multiplying by 10⁴, but the scale is undefined (Eqs. 15-17 literally give 0.1 to 1):
    compare ratios. DiT's plain parts sum to 5.64, not 5.67, and its first 5 of 50 steps do not outweigh
    the other 45 in non-plain areas (1.42 against 1.74).

    area      | first_step | last_step / model | ADM-64 | DiT
    plain     | 1          | 50                | 15.11  | 5.67
    non-plain | 1          | 50                | 12.43  | 3.16
    plain     | 1          | 5                 | 9.23   | 3.41
    non-plain | 1          | 5                 | 6.80   | 1.42
    plain     | 6          | 50                | 5.87   | 2.23
    non-plain | 6          | 50                | 5.63   | 1.74
    """,
    7: """
    Sec. 4.2: Diversity in relation to source images I_S and prompt alignment for generations from noise
    x_T and latents x̂_T, conditioned on target prompt.

    IF's CLIP cells, printed as 0.0, look like placeholders (Tab. 13 has 0.27 to 0.65); Tab. 13 repeats
    DiT's noise column and CLIP cells and differs in every other cell. In the authors' code CLIP-T is
    2.5·max(cosine, 0), SSIM takes images in [-1, 1] for data of range 1, and DINO is the first version,
    not the cited one.

    model | quantity / start | noise     | latent
    DiT   | DreamSim         | 0.71±0.12 | 0.69±0.13
    DiT   | LPIPS            | 0.59±0.12 | 0.57±0.12
    DiT   | SSIM             | 0.23±0.13 | 0.25±0.14
    DiT   | DINO             | 0.17      | 0.20
    DiT   | CLIP-T source    | 0.456     | 0.543
    DiT   | CLIP-T target    | 0.689     | 0.568
    IF    | DreamSim         | 0.67±0.10 | 0.64±0.11
    IF    | LPIPS            | 0.39±0.11 | 0.36±0.11
    IF    | SSIM             | 0.31±0.15 | 0.35±0.15
    IF    | DINO             | 0.33      | 0.38
    IF    | CLIP-T source    | 0.0       | 0.0
    IF    | CLIP-T target    | 0.0       | 0.0
    """,
    8: """
    Sec. 4.3: Accuracy on assigning noise or inverted latent encoding to the generated image and vice
    versa.

    Percent, T = 100. Accuracy falls with the number of candidates: the text says 2000, but the authors'
    code searches within eighths of the set (1024 of 8192), and its ± is over the eighths.

    model / direction | image to noise | noise to image | image to latent | latent to image
    ADM-32            | 98.9±1.2       | 50.4±1.9       | 16.4±6.1        | 33.4±2.7
    ADM-64            | 100±0.0        | 59.0±7.1       | 8.6±9.3         | 57.5±7.3
    ADM-256           | 100±0.0        | 23.2±4.8       | 4.1±1.4         | 23.9±5.0
    IF                | 99.8±0.2       | 52.6±5.9       | 3.1±1.8         | 50.0±5.6
    LDM               | 100±0.0        | 100±0.0        | 100±0.0         | 100±0.0
    DiT               | 100±0.0        | 90.7±10.1      | 99.5±1.7        | 90.7±10.3
    """,
    9: """
    Sec. 5: Impact of DDIM Inversion approximation error in the first steps of the noising process on
    latent correlations, reconstruction errors, and the KL divergence between inversions and Gaussian
    noise.

    The reconstruction errors (one 0.0 for both in the last row) are mean absolute errors, though the
    text says l2; KL is KL(noise ‖ latent) of pooled Gaussians. T = 50 (at T = 100, Tab. 2, DiT's 0.16
    is 0.103), and the last row's correlation is the floor: IF's 0.05 means N ≈ 5000, not 10000.

    model | replaced / quantity | correlation | image error | noise error | KL
    DiT   | 0                   | 0.16        | 0.05        | 0.15        | 0.011
    DiT   | 1                   | 0.16        | 0.05        | 0.15        | 0.011
    DiT   | 3                   | 0.10        | 0.05        | 0.08        | 0.004
    DiT   | 5                   | 0.07        | 0.05        | 0.06        | 0.002
    DiT   | 10                  | 0.04        | 0.05        | 0.03        | 0.001
    DiT   | 50                  | 0.04        | 0.0         | 0.0         | 0.0
    IF    | 0                   | 0.64        | 0.07        | 0.55        | 0.60
    IF    | 1                   | 0.61        | 0.07        | 0.51        | 0.56
    IF    | 3                   | 0.15        | 0.07        | 0.19        | 0.06
    IF    | 5                   | 0.09        | 0.07        | 0.12        | 0.03
    IF    | 10                  | 0.05        | 0.07        | 0.07        | 0.01
    IF    | 50                  | 0.05        | 0.0         | 0.0         | 0.0
    """,
    10: """
    App. B.2: Impact of the number of diffusion steps T on angles in the noise x_T, image x_0, and
    latent x̂_T triangle.

    Degrees, with the bias of Tab. 3, which is the T = 100 rows here. IF is not in this table.

    model   | T / vertex | image | noise | latent
    ADM-32  | 10         | 44    | 16    | 120
    ADM-32  | 100        | 29    | 28    | 123
    ADM-32  | 1000       | 20    | 45    | 115
    ADM-64  | 10         | 30    | 31    | 119
    ADM-64  | 100        | 11    | 60    | 109
    ADM-64  | 1000       | 6     | 79    | 95
    ADM-256 | 10         | 24    | 50    | 106
    ADM-256 | 100        | 24    | 73    | 83
    ADM-256 | 1000       | 23    | 73    | 84
    LDM     | 10         | 23    | 53    | 104
    LDM     | 100        | 2     | 76    | 102
    LDM     | 1000       | 1     | 83    | 96
    DiT     | 10         | 27    | 47    | 106
    DiT     | 100        | 4     | 66    | 110
    DiT     | 1000       | 1     | 80    | 99
    """,
    11: """
    App. E.2: Accuracy of the l2-distance based assignment technique for both image↔noise (a) and
    image↔latent (b) mappings across varying number of diffusion steps T.

    Percent; pool size and ± as in Tab. 8, which is the T = 100 rows here (IF is missing). That only
    image to noise is feasible for pixel models does not hold at T = 10: ADM-64 has 100 from noise and
    from latent.

    model   | T / direction | image to noise | noise to image | image to latent | latent to image
    ADM-32  | 10            | 90.3±6.3       | 94.0±2.6       | 66.4±1.7        | 38.2±5.1
    ADM-32  | 100           | 98.9±1.2       | 50.4±1.9       | 16.4±6.1        | 33.4±2.7
    ADM-32  | 1000          | 99.1±1.0       | 46.8±3.0       | 3.6±2.2         | 40.9±2.7
    ADM-32  | 4000          | 99.1±1.0       | 46.4±3.0       | 2.8±2.2         | 41.9±3.0
    ADM-64  | 10            | 99.4±0.0       | 100±0.0        | 64.4±7.1        | 100.0±0.0
    ADM-64  | 100           | 100±0.0        | 59.0±7.1       | 8.6±9.3         | 57.5±7.3
    ADM-64  | 1000          | 99.8±0.2       | 44.6±6.3       | 1.7±1.3         | 44.7±6.5
    ADM-64  | 4000          | 99.5±0.3       | 43.3±6.7       | 1.9±1.4         | 43.5±6.5
    ADM-256 | 10            | 100±0.0        | 39.2±6.2       | 0.7±0.2         | 30.8±4.3
    ADM-256 | 100           | 100±0.0        | 23.2±4.8       | 4.1±1.4         | 23.9±5.0
    ADM-256 | 1000          | 100±0.0        | 25.0±4.4       | 23.9±5.2        | 25.4±4.4
    LDM     | 10            | 100±0.0        | 100±0.0        | 100±0.0         | 100±0.0
    LDM     | 100           | 100±0.0        | 100±0.0        | 100±0.0         | 100±0.0
    LDM     | 1000          | 100±0.0        | 100±0.0        | 100±0.0         | 100±0.0
    DiT     | 10            | 100±0.0        | 93.7±7.2       | 99.8±0.6        | 95.1±6.4
    DiT     | 100           | 100±0.0        | 90.7±10.1      | 99.5±1.7        | 90.7±10.3
    DiT     | 1000          | 100±0.0        | 96.7±4.6       | 100.0±0.2       | 96.6±4.6
    """,
    12: """
    App. F.1: Impact of DDIM Inversion approximation error in first noising steps on the quality of
    generations resulting from latent interpolations.

    Midpoints (λ = 0.5), T = 50. The authors' code stretches every generated image to its own minimum
    and maximum before FID, the reference images not, and takes SLERP row by row: compare the trend, not
    the level. Three steps close 45% of the FID gap (the text: half).

    model | replaced / quantity | FID   | precision | recall
    DiT   | 0                   | 19.68 | 0.79      | 0.41
    DiT   | 1                   | 19.70 | 0.80      | 0.41
    DiT   | 3                   | 18.29 | 0.80      | 0.43
    DiT   | 5                   | 17.51 | 0.81      | 0.43
    DiT   | 10                  | 16.79 | 0.81      | 0.45
    DiT   | 50                  | 16.61 | 0.80      | 0.47
    """,
    13: """
    App. F.2: Impact of first DDIM inversion errors on diversity and text-alignment of generations from
    resulting latent as an input.

    The numbers behind Fig. 7; judges as in Tab. 7, whose DiT latent and IF cells differ from the first
    and last rows here (DiT's CLIP cells agree). DiT's CLIP-T moves most at one replaced step, where its
    diversity (and DiT's half of Tab. 9) stays put.

    model | replaced / quantity | DreamSim  | LPIPS     | SSIM      | DINO | CLIP-T source | CLIP-T target
    DiT   | 0                   | 0.68±0.13 | 0.56±0.13 | 0.26±0.15 | 0.22 | 0.543         | 0.568
    DiT   | 1                   | 0.68±0.13 | 0.56±0.13 | 0.26±0.15 | 0.22 | 0.471         | 0.667
    DiT   | 3                   | 0.68±0.13 | 0.57±0.13 | 0.26±0.15 | 0.22 | 0.468         | 0.673
    DiT   | 5                   | 0.69±0.13 | 0.57±0.13 | 0.26±0.15 | 0.22 | 0.465         | 0.676
    DiT   | 10                  | 0.69±0.13 | 0.57±0.13 | 0.25±0.14 | 0.20 | 0.462         | 0.681
    DiT   | 50                  | 0.71±0.12 | 0.59±0.12 | 0.23±0.13 | 0.17 | 0.456         | 0.689
    IF    | 0                   | 0.61±0.12 | 0.33±0.11 | 0.41±0.14 | 0.42 | 0.353         | 0.614
    IF    | 1                   | 0.61±0.12 | 0.33±0.11 | 0.40±0.14 | 0.41 | 0.352         | 0.615
    IF    | 3                   | 0.64±0.11 | 0.36±0.11 | 0.38±0.13 | 0.39 | 0.334         | 0.632
    IF    | 5                   | 0.64±0.11 | 0.36±0.11 | 0.37±0.13 | 0.38 | 0.327         | 0.637
    IF    | 10                  | 0.65±0.10 | 0.36±0.11 | 0.37±0.13 | 0.37 | 0.313         | 0.645
    IF    | 50                  | 0.66±0.10 | 0.38±0.11 | 0.34±0.14 | 0.34 | 0.273         | 0.649
    """,
}
