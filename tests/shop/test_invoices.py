from __future__ import annotations

import csv
import gzip
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest

import shop
from shop.invoices import InvoiceFileError, read_invoices

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
SAMPLE = Path(shop.__file__).parent / "data" / "orders-2010-12-01.csv"


def file(folder: Path, text: str, name: str = "orders.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def row(invoice_no: str, stock_code: str = "A", quantity: str = "1", price: str = "2.5", customer: str = "7.0") -> str:
    return f"{invoice_no},{stock_code},THING,{quantity},2010-12-01 08:26:00,{price},{customer},France\n"


def test_lines_of_one_number_make_one_invoice_in_file_order(tmp_path: Path) -> None:
    path = file(tmp_path, HEADER + row("2", "A") + row("2", "B") + row("1", "C"))
    assert [(i.invoice_no, [x.stock_code for x in i.lines]) for i in read_invoices(path)] == [
        ("2", ["A", "B"]),
        ("1", ["C"]),
    ]


def test_the_body_is_what_the_api_takes(tmp_path: Path) -> None:
    [invoice] = read_invoices(file(tmp_path, HEADER + row("2", quantity="-6", price="0.1")))
    assert invoice.body() == {
        "invoice_no": "2",
        "customer_id": "7",
        "country": "France",
        "invoice_date": "2010-12-01 08:26:00",
        "lines": [{"stock_code": "A", "description": "THING", "quantity": -6, "unit_price": "0.1"}],
    }


@pytest.mark.parametrize(("printed", "customer_id"), [("17850.0", "17850"), ("17850", "17850"), ("", None)])
def test_a_customer_number_printed_as_a_float_is_the_number(
    tmp_path: Path, printed: str, customer_id: str | None
) -> None:
    [invoice] = read_invoices(file(tmp_path, HEADER + row("1", customer=printed)))
    assert invoice.customer_id == customer_id


def test_an_invoice_number_with_a_c_is_a_cancellation(tmp_path: Path) -> None:
    invoices = read_invoices(file(tmp_path, HEADER + row("C1") + row("2")))
    assert [invoice.is_cancellation for invoice in invoices] == [True, False]


def test_an_invoice_with_others_in_between_is_still_one(tmp_path: Path) -> None:
    path = file(tmp_path, HEADER + row("1", "A") + row("2", "B") + row("1", "C"))
    assert [(i.invoice_no, len(i.lines)) for i in read_invoices(path)] == [("1", 2), ("2", 1)]


def test_columns_are_found_by_name_whatever_their_place_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = (
        "\ufeffCountry,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo,More\n"
        "France,7,2.5,2010-12-01,3,THING,A,1,x\n"
    )
    [invoice] = read_invoices(file(tmp_path, text))
    assert (invoice.invoice_no, invoice.country, invoice.lines[0].quantity) == ("1", "France", 3)
    assert invoice.lines[0].unit_price == Decimal("2.5")


def test_a_compressed_file_reads_like_a_plain_one_whatever_its_name(tmp_path: Path) -> None:
    compressed = tmp_path / "orders.data"
    compressed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert list(read_invoices(compressed)) == list(read_invoices(SAMPLE))


def test_the_sample_day_holds_every_line_of_its_143_invoices() -> None:
    invoices = list(read_invoices(SAMPLE))
    with SAMPLE.open(encoding="utf-8", newline="") as text:
        expected = [(r["InvoiceNo"], r["StockCode"], int(r["Quantity"])) for r in csv.DictReader(text)]
    assert len(invoices) == 143
    assert [(i.invoice_no, x.stock_code, x.quantity) for i in invoices for x in i.lines] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: missing columns InvoiceNo, StockCode"),
        ("InvoiceNo,StockCode\n", "line 1: missing columns Description, Quantity, InvoiceDate"),
        (HEADER + row("1") + row("1", quantity="many"), "line 3, column Quantity: 'many' is not a whole number"),
        (HEADER + row("1", price="free"), "line 2, column UnitPrice: 'free' is not a price"),
        (HEADER + row("1", price="NaN"), "line 2, column UnitPrice: 'NaN' is not a price"),
        (HEADER + row(""), "line 2, column InvoiceNo: empty"),
        (HEADER + "1,A\n", "line 2: 2 fields where the header has 8 columns"),
        (HEADER + row("1", customer="7") + row("1", customer="8"), "line 3, column CustomerID: 8, but invoice 1 began"),
        (HEADER + '1,"A' + "\n", "line 2: not CSV"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(InvoiceFileError) as refusal:
        list(read_invoices(path))
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvoiceFileError, match=r"nowhere.csv: cannot be read: No such file"):
        list(read_invoices(tmp_path / "nowhere.csv"))


def test_a_compressed_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(SAMPLE.read_bytes())[:20_000])
    with pytest.raises(InvoiceFileError, match="damaged or cut short"):
        list(read_invoices(path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(HEADER.encode() + b"1,A,\xff\xfe,1,2010-12-01,1,7,France\n")
    with pytest.raises(InvoiceFileError, match="not a text in UTF-8"):
        list(read_invoices(path))


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = file(tmp_path, HEADER + "".join(row(str(number // 5)) for number in range(50_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_invoices(path)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
