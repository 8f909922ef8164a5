"""What a recording holds, field by field: the page's data, version 1.

A recording is a **document** (plain JSON) and **buffers** (bytes).  ``check`` holds a document
against ``DOCUMENT`` below, which is the format; this text says what the fields mean.

In the page the document is ``<script type="application/json" id="document">`` and a buffer NAME is
``<script type="application/octet-stream" id="buffer-NAME">``: base64 of its zlib stream, which
``DecompressionStream("deflate")`` reads.  A **ref** names an array in a buffer: ``{"buffer",
"offset" (bytes, a multiple of 4), "dtype" ("u1", "i4" or "f4", little-endian), "shape"}``, C order.
Pictures are numbered 0 and, with a comparison, 1; "per picture" is a list with an entry for each,
and what two pictures share (channels, quantisation, histogram edges, classes) is stored once.
Activations are (H, W, C); maps are stored channel first, (channels, H, W).  Names, labels and
provenance come from outside: show them as text, never as markup.

``document``
  ``format``, ``version``   "minimix-explorer", 1
  ``made_by``               such as "minimix 0.1.0"
  ``full``                  whether it was recorded with --full
  ``model``                 ``name``; ``size`` (px of the input's side); ``engine`` ("compiled" or
                            "reference"); ``parameters``, ``macs`` (as ``summary`` counts them);
                            ``dialect`` and ``pipeline`` (as in the model file); ``dtype`` (of the
                            stored weights); ``license``, ``tool`` (texts, may be empty); ``source``
                            ([key, value] texts: file, sha256 ...)
  ``labels``                every class's name
  ``classes``               indices of the classes whose activation is shown: the best 5 of
                            picture 0, then those of picture 1 that are not among them
  ``times``                 null with --no-times, else ``machine`` (text), ``threads``,
                            ``runs`` (inferences timed), ``inference_ms`` (median of whole
                            inferences, what ``minimix bench`` measures), ``nodes_ms`` (sum of the
                            nodes' ``ms``; the rest is calling and handing over)
  ``pictures``              1 or 2, below
  ``stages``                the strip: ``name`` ("image", "stem", "blocks.0" ...), ``nodes`` (names
                            of collapsed nodes, in order), ``spec`` (the block as the architecture
                            writes it, or null), ``residual`` (whether it adds its input)
  ``nodes``                 collapsed nodes in order of execution, below
  ``code``                  function name -> its source in ``minimix.ops``
  ``limits``                ``page_bytes``: what the page was made to stay below

``pictures[p]``
  ``name``                  the file's name, without its folder
  ``width``, ``height``     px of the original, turned as its EXIF says
  ``original``              data URI (JPEG), at most 640 px wide and high; for looking at only
  ``crop_box``              [top, left, height, width] of what the network sees, in px of the
                            original (width x height); fractions where the pipeline resizes first
  ``crop``                  data URI (PNG), size x size: what the network sees before normalisation;
                            where that is over 400 kB a JPEG of at most 640 x 640 px
  ``input``                 the network's input, exact: ``values`` ref (size, size, 3); with
                            ``levels`` null they are f4, else u1 indices and ``levels`` is a ref
                            f4 (3, n): ``input[i, j, c] = levels[c, values[i, j, c]]``.  Channels
                            are in the pipeline's order (RGB or BGR).  Null where it is too large
                            for the page (not at 224 px, but for float input with two pictures);
                            then no sample of the magnifier reads "picture"
  ``logits``                ref f4 (classes,)
  ``top``                   the best 20 (or all): ``index``, ``label``, ``logit``, ``p`` (0..1)
  ``activation``            for each of ``document.classes``: ``cells`` ref f4 (n, h, w), ``bias``,
                            ``sums``, ``logits`` lists of n numbers.  ``sums[k]`` is
                            ``cells[k].sum() + bias[k]`` in float64; it is ``logits[k]`` but for
                            float32 rounding
  ``occlusion``             null, or for the best class: ``index``, ``label``, ``logit`` (whole
                            picture), ``patch`` and ``stride`` (px), ``rows``, ``columns`` (first px
                            of each square, in the input), ``drops`` ref f4 (rows, columns): the
                            logit of the whole picture minus that with the square covered

``nodes[n]``                batch norm and activation are collapsed into the convolution they follow
  ``name``                  of the convolution or other operator, such as "blocks.3.mixconv"
  ``kind``                  input, conv, mixconv, pointwise, squeeze_excite, add, pool, linear (or
                            batch_norm, activation where no convolution precedes)
  ``stage``                 name of its stage
  ``inputs``                names of the collapsed nodes that it reads
  ``members``               what is collapsed, in order: ``name``, ``kind``
  ``activation``            "relu", "swish" or null: the last thing done
  ``shape``                 of the output: [H, W, C], or [C] after pooling
  ``stride``, ``padding``   of conv and mixconv, else null; ``padding`` is "same" or "symmetric"
  ``groups``                see below; empty for nodes without kernels.  A 1x1 convolution has one
                            entry per channel group, with ``kernel_size`` 1
  ``field``                 receptive field of the node in the input, along either side; see
                            ``groups[g].field``.  Squeeze-excite, which is global, is left out of it
  ``parameters``, ``macs``  of all members, as ``summary`` counts them
  ``output_bytes``          of the output as float32
  ``ms``                    measured, or null: no times, or done inside another node
  ``ms_in``                 name of the node whose ``ms`` includes this one's work, or null
  ``formulas``              lines of text, one per step
  ``code``                  names in ``document.code`` of the reference functions, in order
  ``maps``                  null for vectors and the input; else ``channels`` (by energy, groups
                            with kernels in turns), ``energies`` (mean of squares, over pictures),
                            ``low``, ``high`` (per channel, over all pictures), ``values`` per
                            picture a ref u1 (channels, H, W): ``value = low + u * (high - low) /
                            255``.  The list of channels is empty where the maps are too large for
                            the page
  ``vector``                null for maps; per picture a ref f4 (C,): the output of pool, linear
  ``gates``                 squeeze_excite only, else null: per picture a ref f4 (C,)
  ``stats``                 per picture over the whole output: ``low``, ``high``, ``mean``, ``std``,
                            ``zeros`` (share of values that are exactly 0)
  ``histogram``             ``low``, ``high`` (edges of the first and last bin, over all pictures),
                            ``counts`` per picture 64 whole numbers; all values are counted
  ``dead``                  per picture the dead channels: after ReLU zero at every pixel; after
                            anything else constant over a map of more than one pixel
  ``magnifier``             conv and mixconv, else empty: samples, below

``nodes[n].groups[g]``      in order of the channels
  ``first``, ``channels``   the group's output channels: first .. first + channels - 1
  ``kernel_size``           of the weights; ``dilation``; ``extent`` (px seen along one side); the
                            colour and the label go by ``extent``
  ``pad``                   [before, after] zeros along either side (1x1: [0, 0])
  ``field``                 output pixel i sees px ``first + i * step`` .. ``last + i * step`` of
                            the input; below 0 or beyond the side is padding.  ``size`` = last -
                            first + 1.  ``step`` 0: the whole picture
  ``kernels``               null for 1x1, else ``channels`` (output channels by energy, as in
                            ``maps``, where there may be fewer or more of them), ``norms`` (L2),
                            ``weights`` ref f4 (n, K, K), for a full convolution (n, K, K, Cin)

``nodes[n].magnifier[m]``   an output map of the convolution alone, before batch norm, exact
  ``group``, ``channel``    output channel (numbered over all groups)
  ``reads``                 "map": ``input`` is per picture a ref f4 (H, W), channel ``channel`` of
                            what the node reads; "picture": ``input`` is empty, it reads
                            ``pictures[p].input``
  ``weight``                ref f4 (K, K), for "picture" (K, K, Cin)
  ``bias``                  number added, 0 without
  ``output``                per picture a ref f4 (Ho, Wo):
                            ``output[i, j] = bias + sum over di, dj (and c) of
                            input[i * stride + di * dilation - pad[0], j * stride + ...] *
                            weight[di, dj]``, zero outside; exact but for float32 rounding
  ``scale``, ``shift``      then ``output * scale + shift`` (batch norm), then the activation, is
                            the node's output; 1 and 0 without batch norm
"""

from __future__ import annotations

from typing import Any

from minimix.explorer.schema import Anything, Maybe, Named, OneOf, Ref

FORMAT = "minimix-explorer"
VERSION = 1
BINS = 64
"""Bins of a histogram."""

TOP = 20
"""Classes that are listed."""

CLASSES = 5
"""Best classes of each picture whose activation is shown."""

EXACT, INDICES = ("f4",), ("u1",)

KINDS = OneOf(
    ("input", "conv", "mixconv", "pointwise", "squeeze_excite", "add", "pool", "linear")
    + ("batch_norm", "activation")
)

FIELD: dict[str, Any] = {"first": int, "last": int, "step": int, "size": int}

GROUP: dict[str, Any] = {
    "first": int,
    "channels": int,
    "kernel_size": int,
    "dilation": int,
    "extent": int,
    "pad": [int],
    "field": FIELD,
    "kernels": Maybe({"channels": [int], "norms": [float], "weights": Ref(EXACT, 0)}),
}

SAMPLE: dict[str, Any] = {
    "group": int,
    "channel": int,
    "reads": OneOf(("map", "picture")),
    "input": [Ref(EXACT, 2)],
    "weight": Ref(EXACT, 0),
    "bias": float,
    "output": [Ref(EXACT, 2)],
    "scale": float,
    "shift": float,
}

NODE: dict[str, Any] = {
    "name": str,
    "kind": KINDS,
    "stage": str,
    "inputs": [str],
    "members": [{"name": str, "kind": str}],
    "activation": Maybe(str),
    "shape": [int],
    "stride": Maybe(int),
    "padding": Maybe(str),
    "groups": [GROUP],
    "field": FIELD,
    "parameters": int,
    "macs": int,
    "output_bytes": int,
    "ms": Maybe(float),
    "ms_in": Maybe(str),
    "formulas": [str],
    "code": [str],
    "maps": Maybe(
        {
            "channels": [int],
            "energies": [float],
            "low": [float],
            "high": [float],
            "values": [Ref(INDICES, 3)],
        }
    ),
    "vector": Maybe([Ref(EXACT, 1)]),
    "gates": Maybe([Ref(EXACT, 1)]),
    "stats": [{"low": float, "high": float, "mean": float, "std": float, "zeros": float}],
    "histogram": {"low": float, "high": float, "counts": [[int]]},
    "dead": [[int]],
    "magnifier": [SAMPLE],
}

PICTURE: dict[str, Any] = {
    "name": str,
    "width": int,
    "height": int,
    "original": str,
    "crop_box": [float],
    "crop": str,
    "input": Maybe({"values": Ref(("u1", "f4"), 3), "levels": Maybe(Ref(EXACT, 2))}),
    "logits": Ref(EXACT, 1),
    "top": [{"index": int, "label": str, "logit": float, "p": float}],
    "activation": {
        "cells": Ref(EXACT, 3),
        "bias": [float],
        "sums": [float],
        "logits": [float],
    },
    "occlusion": Maybe(
        {
            "index": int,
            "label": str,
            "logit": float,
            "patch": int,
            "stride": int,
            "rows": [int],
            "columns": [int],
            "drops": Ref(EXACT, 2),
        }
    ),
}

DOCUMENT: dict[str, Any] = {
    "format": OneOf((FORMAT,)),
    "version": int,
    "made_by": str,
    "full": bool,
    "model": {
        "name": str,
        "size": int,
        "engine": str,
        "parameters": int,
        "macs": int,
        "dialect": Named(Anything),
        "pipeline": Named(Anything),
        "dtype": str,
        "license": str,
        "tool": str,
        "source": [[str]],
    },
    "labels": [str],
    "classes": [int],
    "times": Maybe(
        {"machine": str, "threads": int, "runs": int, "inference_ms": float, "nodes_ms": float}
    ),
    "pictures": [PICTURE],
    "stages": [{"name": str, "nodes": [str], "spec": Maybe(str), "residual": bool}],
    "nodes": [NODE],
    "code": Named(str),
    "limits": {"page_bytes": int},
}
