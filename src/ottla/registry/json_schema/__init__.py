"""JSON Schema: drafts 4, 6, 7, 2019-09 and 2020-12, compared with Confluent's verdicts.

Reading path: `document` (text, references, what a `$ref` points to), `model` (what kind of schema a node is),
`diff` with `objects`, `arrays` and `values` (may this reader read that writer).
"""
