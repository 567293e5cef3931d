"""Our reading of .proto files against protoc's: the same descriptors, and the same files refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from ottla.serde.protobuf.files import load, serialized
from ottla.serde.protobuf.tokens import InvalidProto

GOOGLE = Path(protoc.__file__).parent / "_proto"

FILES = {
    "everything of proto3": """
        // A comment
        syntax = "proto3";
        package shop.v1; /* another */
        import "google/protobuf/timestamp.proto";
        import public "google/protobuf/duration.proto";
        option java_package = "org.example" "more";
        option java_multiple_files = true;
        option optimize_for = CODE_SIZE;
        message Order {
          option deprecated = true;
          reserved 100, 200 to 300, 1000 to max;
          reserved "old", "older";
          string id = 1 [json_name = "ID", deprecated = true];
          optional int32 count = 2;
          repeated sint64 numbers = 3 [packed = false];
          map<string, Item> items = 4;
          map<int32, Kind> kinds_by_number = 5;
          oneof payment { Card card = 6; string voucher = 7; }
          google.protobuf.Timestamp at = 8;
          .google.protobuf.Duration for = 9;
          Item.Part part = 0xA;
          optional string message = 11;
          bytes option = 12;
          message Item {
            message Part { double weight = 1; float size = 2; }
            repeated Part parts = 1;
            Kind kind = 2;
          }
          enum Kind { option allow_alias = true; NONE = 0; ZERO = 0; SOME = -7; reserved 5 to 6, 9; reserved "GONE"; }
        }
        message Card { fixed32 a = 1; fixed64 b = 2; sfixed32 c = 3; sfixed64 d = 4; uint32 e = 5; uint64 f = 6;
                       sint32 g = 7; bool h = 8; int64 i = 9; Order back = 10; }
        message Empty {}
        service Shop { rpc Buy (Order) returns (stream Card) { option deprecated = true; }
                       rpc Sell (stream Order) returns (Empty); }
        """,
    "everything of proto2": r"""
        syntax = "proto2";
        message Old {
          required string name = 1 [default = "a\"b\n\x41\101"];
          optional int32 number = 2 [default = -12];
          optional double ratio = 3 [default = 1.5];
          optional bool flag = 4 [default = true];
          optional Color color = 5 [default = RED];
          repeated group Part = 6 { optional string label = 1; }
          extensions 100 to 199, 500 to max;
          oneof one { int32 x = 7; int32 y = 8; }
          enum Color { GREEN = 1; RED = 2; }
          extend Old { optional int32 inner = 110; }
        }
        extend Old { optional string more = 100; repeated Old olds = 101; }
        """,
    "no syntax is proto2": "message A { optional string b = 1; }",
    "scopes": """
        syntax = "proto3";
        package a.b;
        message C { message D { message C { string x = 1; } C near = 1; .a.b.C far = 2; b.C middle = 3; } D d = 1; }
        """,
    "an edition": 'edition = "2023"; package e; message M { string s = 1; repeated int32 n = 2; }',
    "imports of Google's": """
        syntax = "proto3";
        import "google/protobuf/any.proto"; import "google/protobuf/struct.proto";
        import "google/protobuf/wrappers.proto";
        import "google/protobuf/empty.proto"; import "google/protobuf/field_mask.proto";
        message M { google.protobuf.Any a = 1; google.protobuf.Struct b = 2; google.protobuf.StringValue c = 3;
                    google.protobuf.Empty d = 4; google.protobuf.FieldMask e = 5; }
        """,
}  # fmt: skip

REFUSED = {
    "an open brace": 'syntax = "proto3"; message A {',
    "no semicolon": 'syntax = "proto3"; message A { string a = 1 }',
    "the same number twice": 'syntax = "proto3"; message A { string a = 1; string b = 1; }',
    "the same name twice": 'syntax = "proto3"; message A { string a = 1; string a = 2; }',
    "the same message twice": 'syntax = "proto3"; message A {} message A {}',
    "a reserved number": 'syntax = "proto3"; message A { reserved 1; string a = 1; }',
    "a reserved name": 'syntax = "proto3"; message A { reserved "a"; string a = 1; }',
    "number 0": 'syntax = "proto3"; message A { string a = 0; }',
    "a number kept for Protobuf itself": 'syntax = "proto3"; message A { string a = 19500; }',
    "a number that is too high": 'syntax = "proto3"; message A { string a = 536870912; }',
    "required in proto3": 'syntax = "proto3"; message A { required string a = 1; }',
    "no label in proto2": 'syntax = "proto2"; message A { string a = 1; }',
    "an unknown type": 'syntax = "proto3"; message A { B b = 1; }',
    "an unknown import": 'syntax = "proto3"; import "nowhere.proto";',
    "an enum without zero": 'syntax = "proto3"; enum E { A = 1; }',
    "an enum without values": 'syntax = "proto3"; enum E {}',
    "an alias that is not allowed": 'syntax = "proto3"; enum E { A = 0; B = 0; }',
    "a map with a float key": 'syntax = "proto3"; message A { map<float, string> m = 1; }',
    "repeated in a oneof": 'syntax = "proto3"; message A { oneof o { repeated string a = 1; } }',
    "an option of the wrong type": 'syntax = "proto3"; option java_package = 3;',
    "an unknown syntax": 'syntax = "proto9";',
    "no Protobuf at all": '{"type": "object"}',
    "a second package": 'syntax = "proto3"; package a; package b;',
    "an open string": 'syntax = "proto3; message A {}',
    "an open comment": 'syntax = "proto3"; /* message A {}',
}


def by_protoc(text: str, folder: Path) -> FileDescriptorProto | None:
    """protoc's descriptor of a file; None if it refuses it."""
    (folder / "schema.proto").write_text(text)
    out = folder / "out.bin"
    status = protoc.main(
        ["protoc", f"-I{folder}", f"-I{GOOGLE}", f"--descriptor_set_out={out}", str(folder / "schema.proto")]
    )
    return FileDescriptorSet.FromString(out.read_bytes()).file[0] if status == 0 else None


def comparable(file: FileDescriptorProto) -> FileDescriptorProto:
    """A copy without json_name, which protoc fills in and we leave where nobody wrote one."""
    copy = FileDescriptorProto.FromString(file.SerializeToString())

    def clear(message: object) -> None:
        for field in message.field:  # type: ignore[attr-defined]
            first, *rest = field.name.split("_")
            if field.json_name == first + "".join(part.capitalize() for part in rest):
                field.ClearField("json_name")
        for nested in message.nested_type:  # type: ignore[attr-defined]
            clear(nested)

    for message in copy.message_type:
        clear(message)
    for field in copy.extension:
        field.ClearField("json_name")
    for message in copy.message_type:
        for field in message.extension:
            field.ClearField("json_name")
    return copy


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_protoc_reads_it(name: str, tmp_path: Path) -> None:
    expected = by_protoc(FILES[name], tmp_path)
    assert expected is not None
    ours = comparable(load(FILES[name]).descriptor)
    assert str(ours) == str(comparable(expected))


@pytest.mark.parametrize("name", FILES)
def test_a_printed_file_means_the_same(name: str, tmp_path: Path) -> None:
    file = load(FILES[name])
    again = load(file.text)
    assert again.text == file.text
    expected = by_protoc(file.text, tmp_path)
    assert expected is not None
    assert str(comparable(expected)) == str(comparable(again.descriptor))
    assert load(file.normalized).normalized == file.normalized


@pytest.mark.parametrize("name", FILES)
def test_a_descriptor_in_base64_is_read_like_the_text(name: str) -> None:
    file = load(FILES[name])
    assert load(serialized(file.descriptor)).normalized == file.normalized


@pytest.mark.parametrize("name", REFUSED)
def test_what_protoc_refuses_is_refused(name: str, tmp_path: Path) -> None:
    assert by_protoc(REFUSED[name], tmp_path) is None
    with pytest.raises(InvalidProto):
        load(REFUSED[name])


def test_a_fault_names_the_line() -> None:
    with pytest.raises(InvalidProto, match=r"line 3: ';' expected, not '}'"):
        load('syntax = "proto3";\nmessage A {\n  string a = 1 }')


def test_imports_come_from_references() -> None:
    references = {
        "item.proto": 'syntax = "proto3"; package x; import "part.proto"; message Item { Part part = 1; }',
        "part.proto": 'syntax = "proto3"; package x; message Part { string id = 1; }',
    }
    file = load('syntax = "proto3"; package x; import "item.proto"; message A { Item i = 1; }', references)
    assert set(file.imports) == set(references)
    made = file.message_class("x.A")(i={"part": {"id": "p"}})
    assert made.SerializeToString() == b"\n\x05\n\x03\n\x01p"


def test_what_an_import_imports_is_not_seen_unless_it_is_public() -> None:
    part = 'syntax = "proto3"; message Part {}'
    using = 'syntax = "proto3"; import "item.proto"; message A { Part part = 1; }'
    hidden = 'syntax = "proto3"; import "part.proto"; message Item { Part part = 1; }'
    with pytest.raises(InvalidProto, match="no type 'Part'"):
        load(using, {"item.proto": hidden, "part.proto": part})
    load(using, {"item.proto": hidden.replace("import", "import public"), "part.proto": part})


def test_imports_in_a_circle_are_refused() -> None:
    with pytest.raises(InvalidProto, match="leads back to itself"):
        load('import "a.proto";', {"a.proto": 'import "b.proto";', "b.proto": 'import "a.proto";'})


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InvalidProto, match="nested"):
        load('syntax = "proto3";' + "message A {" * 5000)


def test_options_that_protobuf_does_not_define_are_kept() -> None:
    text = load(
        'syntax = "proto3"; import "confluent/meta.proto"; '
        'message A { string a = 1 [(confluent.field_meta).doc = "x"]; }'
    ).text
    assert '(confluent.field_meta).doc = "x"' in text


def test_a_message_is_found_by_its_indexes() -> None:
    file = load(
        'syntax="proto3"; package p; message A { map<string, string> m = 1; message B {} message C {} } message D {}'
    )
    assert [file.full_name(at) for at in ((0,), (0, 1), (1,))] == ["p.A", "p.A.C", "p.D"]
    with pytest.raises(IndexError):
        file.full_name((2,))
