"""Reads the text of a .proto file into a FileDescriptorProto, as protoc would, names not yet resolved.

Source: the Protocol Buffers language specifications of proto2, proto3 and editions 2023. `names` resolves the names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from .options import Option, set_options
from .tokens import InvalidProto, Token, tokens

SCALARS = {
    "double": FieldProto.TYPE_DOUBLE,
    "float": FieldProto.TYPE_FLOAT,
    "int64": FieldProto.TYPE_INT64,
    "uint64": FieldProto.TYPE_UINT64,
    "int32": FieldProto.TYPE_INT32,
    "fixed64": FieldProto.TYPE_FIXED64,
    "fixed32": FieldProto.TYPE_FIXED32,
    "bool": FieldProto.TYPE_BOOL,
    "string": FieldProto.TYPE_STRING,
    "bytes": FieldProto.TYPE_BYTES,
    "uint32": FieldProto.TYPE_UINT32,
    "sfixed32": FieldProto.TYPE_SFIXED32,
    "sfixed64": FieldProto.TYPE_SFIXED64,
    "sint32": FieldProto.TYPE_SINT32,
    "sint64": FieldProto.TYPE_SINT64,
}
_LABELS = {
    "optional": FieldProto.LABEL_OPTIONAL,
    "required": FieldProto.LABEL_REQUIRED,
    "repeated": FieldProto.LABEL_REPEATED,
}
NUMBER_MAX = 2**29 - 1
_DEPTH_MAX = 32  # Protobuf's own limit for nested messages in generated code


def parse(text: str, name: str = "") -> FileProto:
    """The descriptor of a file; type names are as they were written.

    Args:
        text: The file.
        name: The name others import it by.

    Raises:
        InvalidProto: It is no Protobuf. The message says in which line and why.
    """
    return _Parser(text).file(name)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.tokens += [self.tokens[-1]] * 3  # so that looking ahead finds the end, too
        self.at = 0
        self.syntax = "proto2"
        self.depth = 0

    # ------------------------------------------------------------------ tokens

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def ahead(self, text: str, kind: str | None = None) -> bool:
        return self.next.text == text and self.next.kind != "string" and (kind is None or self.next.kind == kind)

    def accept(self, text: str) -> bool:
        found = self.ahead(text)
        self.at += found
        return found

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.fault(f"{text!r} expected, not {self.next.text or 'the end of the file'!r}")

    def name(self, what: str = "a name") -> str:
        if self.next.kind != "name":
            raise self.fault(f"{what} expected, not {self.next.text or 'the end of the file'!r}")
        return self.take().text

    def full_name(self) -> str:
        parts = ["." if self.accept(".") else "", self.name()]
        while self.accept("."):
            parts += [".", self.name()]
        return "".join(parts)

    def string(self) -> str:
        if self.next.kind != "string":
            raise self.fault(f"a string expected, not {self.next.text!r}")
        parts = []
        while self.next.kind == "string":
            parts.append(self.take().text)
        return "".join(parts)

    def integer(self) -> int:
        sign = -1 if self.accept("-") else 1
        token = self.take()
        try:
            text = token.text
            octal = len(text) > 1 and text[0] == "0" and text.isdigit()
            return sign * int(text, 8 if octal else 0)
        except ValueError:
            raise InvalidProto(f"line {token.line}: a whole number expected, not {token.text!r}") from None

    def fault(self, reason: str) -> InvalidProto:
        return InvalidProto(f"line {self.next.line}: {reason}")

    # ------------------------------------------------------------------ the file

    def file(self, name: str) -> FileProto:
        file = FileProto(name=name)
        options: list[Option] = []
        if self.accept("syntax"):
            self.expect("=")
            self.syntax = self.string()
            self.expect(";")
            if self.syntax not in ("proto2", "proto3"):
                raise self.fault(f"syntax {self.syntax!r} is neither proto2 nor proto3")
            if self.syntax == "proto3":
                file.syntax = "proto3"
        elif self.accept("edition"):
            self.expect("=")
            edition = self.string()
            self.expect(";")
            known = f"EDITION_{edition}"
            if known not in descriptor_pb2.Edition.DESCRIPTOR.values_by_name:
                raise self.fault(f"edition {edition!r} is not known here")
            file.syntax, file.edition = "editions", descriptor_pb2.Edition.Value(known)
            self.syntax = "editions"
        while self.next.kind != "end":
            self.statement(file, options)
        set_options(file.options, options)
        return file

    def statement(self, file: FileProto, options: list[Option]) -> None:
        if self.accept(";"):
            return
        word = self.name("a declaration")
        match word:
            case "import":
                index = len(file.dependency)
                if self.accept("public"):
                    file.public_dependency.append(index)
                elif self.accept("weak"):
                    file.weak_dependency.append(index)
                file.dependency.append(self.string())
                self.expect(";")
            case "package":
                if file.package:
                    raise self.fault("a second package")
                file.package = self.full_name()
                self.expect(";")
            case "option":
                options.append(self.option())
                self.expect(";")
            case "message":
                self.message(file.message_type.add())
            case "enum":
                self.enum(file.enum_type.add())
            case "extend":
                self.extend(file.extension, file.message_type)
            case "service":
                self.service(file.service.add())
            case _:
                self.at -= 1
                raise self.fault(f"{word!r} does not begin a declaration (message, enum, import, option, ...)")

    # ------------------------------------------------------------------ messages

    def message(self, message: Any) -> None:
        message.name = self.name("the message's name")
        self.message_body(message)

    def message_body(self, message: Any) -> None:
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise self.fault(f"messages are nested more than {_DEPTH_MAX} deep")
        options: list[Option] = []
        self.expect("{")
        while not self.accept("}"):
            self.member(message, options)
        set_options(message.options, options)
        self.synthetic_oneofs(message)
        self.depth -= 1

    def member(self, message: Any, options: list[Option]) -> None:
        if self.accept(";"):
            return
        # A keyword may also be a type's name in front of a field's name; what follows tells.
        word, after = self.next, self.tokens[self.at + 1]
        nested = after.kind == "name" and self.tokens[self.at + 2].text in ("{", "") if word.kind == "name" else False
        if word.text in ("message", "enum", "oneof") and nested:
            self.at += 1
            if word.text == "message":
                self.message(message.nested_type.add())
            elif word.text == "enum":
                self.enum(message.enum_type.add())
            else:
                self.oneof(message)
        elif self.ahead("extend", "name") and after.kind in ("name", "symbol") and after.text != "=":
            self.at += 1
            self.extend(message.extension, message.nested_type)
        elif self.ahead("option", "name") and (after.text == "(" or after.kind == "name"):
            self.at += 1
            options.append(self.option())
            self.expect(";")
        elif self.ahead("reserved", "name") and after.kind in ("number", "string", "name"):
            self.at += 1
            self.reserved(message, 1)
        elif self.ahead("extensions", "name") and after.kind == "number":
            self.at += 1
            self.extensions(message)
        elif self.ahead("map", "name") and after.text == "<":
            self.map_field(message)
        else:
            self.field(message.field.add(), message.nested_type)

    def field(self, field: Any, groups: Any, *, in_oneof: bool = False, extendee: str = "") -> None:
        label = None
        if self.next.text in _LABELS and self.tokens[self.at + 1].text != "=":
            label = self.take().text
            if in_oneof:
                raise self.fault("a field in a oneof has no label")
        field.label = _LABELS[label or "optional"]
        if extendee:
            field.extendee = extendee
        if label == "optional" and self.syntax == "proto3":
            field.proto3_optional = True
        if label is None and self.syntax == "proto2" and not in_oneof and not self.ahead("group"):
            raise self.fault("proto2 wants a label (optional, required or repeated) in front of a field")
        if label == "required" and self.syntax == "proto3":
            raise self.fault("proto3 has no required fields")
        if self.ahead("group") and self.tokens[self.at + 1].kind == "name":
            self.group(field, groups)
            return
        self.typed(field)
        field.name = self.name("the field's name")
        self.numbered(field)
        self.expect(";")

    def typed(self, field: Any) -> None:
        written = self.full_name()
        if written in SCALARS:
            field.type = SCALARS[written]
        else:
            field.type_name = written

    def numbered(self, field: Any) -> None:
        self.expect("=")
        field.number = self.integer()
        if not 1 <= field.number <= NUMBER_MAX or 19000 <= field.number <= 19999:
            raise self.fault(
                f"field {field.name}: {field.number} is no field number (1 to {NUMBER_MAX}, without 19000 to 19999)"
            )
        options = self.bracketed_options()
        for option in [o for o in options if o.name == "json_name"]:
            field.json_name = str(option.value)
        for option in [o for o in options if o.name == "default"]:
            field.default_value = _default_text(option)
        rest = [option for option in options if option.name not in ("json_name", "default")]
        if rest:
            set_options(field.options, rest)

    def group(self, field: Any, groups: Any) -> None:
        self.expect("group")
        nested = groups.add()
        nested.name = self.name("the group's name")
        field.type, field.type_name, field.name = FieldProto.TYPE_GROUP, nested.name, nested.name.lower()
        self.numbered(field)
        self.message_body(nested)

    def map_field(self, message: Any) -> None:
        self.expect("map")
        self.expect("<")
        entry = message.nested_type.add()
        key = entry.field.add(name="key", number=1, label=FieldProto.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, label=FieldProto.LABEL_OPTIONAL)
        self.typed(key)
        if key.type_name or key.type in (FieldProto.TYPE_DOUBLE, FieldProto.TYPE_FLOAT, FieldProto.TYPE_BYTES):
            raise self.fault("a map's key is a string, a bool or a whole number")
        self.expect(",")
        self.typed(value)
        self.expect(">")
        field = message.field.add(label=FieldProto.LABEL_REPEATED)
        field.name = self.name("the field's name")
        entry.name = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
        entry.options.map_entry = True
        field.type, field.type_name = FieldProto.TYPE_MESSAGE, entry.name
        self.numbered(field)
        self.expect(";")

    def oneof(self, message: Any) -> None:
        index = len(message.oneof_decl)
        oneof = message.oneof_decl.add(name=self.name("the oneof's name"))
        options: list[Option] = []
        self.expect("{")
        while not self.accept("}"):
            if self.accept(";"):
                continue
            if self.ahead("option", "name") and self.tokens[self.at + 2].text == "=":
                self.at += 1
                options.append(self.option())
                self.expect(";")
                continue
            field = message.field.add(oneof_index=index)
            self.field(field, message.nested_type, in_oneof=True)
        if options:
            set_options(oneof.options, options)

    def synthetic_oneofs(self, message: Any) -> None:
        """proto3's `optional` is a oneof with one field; those stand behind the declared ones."""
        taken = {oneof.name for oneof in message.oneof_decl} | {field.name for field in message.field}
        for field in message.field:
            if field.proto3_optional:
                name = f"_{field.name}"
                while name in taken:
                    name = f"X{name}"
                taken.add(name)
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=name)

    def reserved(self, target: Any, end_offset: int) -> None:
        """`end_offset` 1: a message's ranges end before their end; 0: an enum's include it."""
        if self.next.kind in ("string", "name"):
            target.reserved_name.append(self.string() if self.next.kind == "string" else self.name())
            while self.accept(","):
                target.reserved_name.append(self.string() if self.next.kind == "string" else self.name())
        else:
            for start, end in self.ranges(2**31 - 1 if not end_offset else NUMBER_MAX):
                target.reserved_range.add(start=start, end=end + end_offset)
        self.expect(";")

    def extensions(self, message: Any) -> None:
        for start, end in self.ranges(NUMBER_MAX):
            message.extension_range.add(start=start, end=end + 1)
        options = self.bracketed_options()
        if options:
            for extension_range in message.extension_range:
                set_options(extension_range.options, options)
        self.expect(";")

    def ranges(self, highest: int) -> list[tuple[int, int]]:
        found = []
        while True:
            start = end = self.integer()
            if self.accept("to"):
                end = highest if self.accept("max") else self.integer()
            if end < start:
                raise self.fault(f"the range {start} to {end} ends before it begins")
            found.append((start, end))
            if not self.accept(","):
                return found

    # ------------------------------------------------------------------ the rest

    def enum(self, enum: Any) -> None:
        enum.name = self.name("the enum's name")
        options: list[Option] = []
        self.expect("{")
        while not self.accept("}"):
            if self.accept(";"):
                continue
            after = self.tokens[self.at + 1]
            if self.ahead("option", "name") and after.text != "=":
                self.at += 1
                options.append(self.option())
                self.expect(";")
            elif self.ahead("reserved", "name") and after.text != "=":
                self.at += 1
                self.reserved(enum, 0)
            else:
                value = enum.value.add(name=self.name("the value's name"))
                self.expect("=")
                value.number = self.integer()
                given = self.bracketed_options()
                if given:
                    set_options(value.options, given)
                self.expect(";")
        if not enum.value:
            raise self.fault(f"enum {enum.name} has no value")
        if self.syntax == "proto3" and enum.value[0].number != 0:
            raise self.fault(f"enum {enum.name}: the first value must be 0 in proto3")
        if options:
            set_options(enum.options, options)

    def extend(self, extensions: Any, groups: Any) -> None:
        extendee = self.full_name()
        self.expect("{")
        while not self.accept("}"):
            if not self.accept(";"):
                self.field(extensions.add(), groups, extendee=extendee)

    def service(self, service: Any) -> None:
        service.name = self.name("the service's name")
        options: list[Option] = []
        self.expect("{")
        while not self.accept("}"):
            if self.accept(";"):
                continue
            if self.accept("option"):
                options.append(self.option())
                self.expect(";")
                continue
            self.expect("rpc")
            self.rpc(service.method.add())
        if options:
            set_options(service.options, options)

    def rpc(self, method: Any) -> None:
        method.name = self.name("the method's name")
        self.expect("(")
        if self.stream():
            method.client_streaming = True
        method.input_type = self.full_name()
        self.expect(")")
        self.expect("returns")
        self.expect("(")
        if self.stream():
            method.server_streaming = True
        method.output_type = self.full_name()
        self.expect(")")
        options: list[Option] = []
        if self.accept("{"):
            while not self.accept("}"):
                if not self.accept(";"):
                    self.expect("option")
                    options.append(self.option())
                    self.expect(";")
        else:
            self.expect(";")
        if options:
            set_options(method.options, options)

    def stream(self) -> bool:
        if self.ahead("stream", "name") and self.tokens[self.at + 1].text != ")":
            self.at += 1
            return True
        return False

    # ------------------------------------------------------------------ options

    def bracketed_options(self) -> list[Option]:
        found: list[Option] = []
        if self.accept("["):
            found.append(self.option())
            while self.accept(","):
                found.append(self.option())
            self.expect("]")
        return found

    def option(self) -> Option:
        parts: list[tuple[str, bool]] = []
        while True:
            if self.accept("("):
                parts.append((self.full_name(), True))
                self.expect(")")
            else:
                parts.append((self.name("the option's name"), False))
            if not self.accept("."):
                break
        self.expect("=")
        return Option(tuple(parts), *self.constant(), line=self.next.line)

    def constant(self) -> tuple[str, Any]:
        """Kind and value: of `string`, `name`, `number` or `aggregate`."""
        if self.next.kind == "string":
            return "string", self.string()
        if self.ahead("{"):
            return "aggregate", self.aggregate()
        if self.next.kind == "name":
            return "name", self.full_name()
        sign = "-" if self.accept("-") else ""
        self.accept("+")
        token = self.take()
        if token.kind not in ("number", "name"):
            raise InvalidProto(f"line {token.line}: {token.text!r} is no value of an option")
        return "number", sign + token.text

    def aggregate(self) -> str:
        self.expect("{")
        depth = 1
        parts: list[str] = []
        while True:
            token = self.take()
            if token.kind == "end":
                raise self.fault("a '{' is not closed")
            depth += (token.text == "{") - (token.text == "}") if token.kind == "symbol" else 0
            if depth == 0:
                return " ".join(parts)
            parts.append(_quoted(token.text) if token.kind == "string" else token.text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _default_text(option: Option) -> str:
    if option.kind == "number" and str(option.value).lstrip("-")[:2].lower() == "0x":
        return str(int(str(option.value), 16))
    return str(option.value)
