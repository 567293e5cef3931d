"""What the orders API takes and gives, as OpenAPI shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, LiteralString

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from shop.events import OrderLine
from shop.orders import domain

Status = Literal["accepted", "reserved", "paid", "out_of_stock", "declined", "shipped", "cancelled"]

# PostgreSQL keeps no text with a NUL in it.
_NO_NUL = r"^[^\x00]*$"
Trimmed = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_NO_NUL)]
Code = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, max_length=40, pattern=_NO_NUL)]


def _literal(text: str) -> LiteralString:
    # PydanticCustomError wants literals lest secrets leak into messages; ours hold only what the customer sent.
    return text


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class Line(BaseModel):
    """One line of an invoice."""

    stock_code: Code = Field(description="The article. Upper and lower case are the same.", examples=["85123A"])
    description: Trimmed = Field(description="Must not be empty.", examples=["WHITE HANGING HEART T-LIGHT HOLDER"])
    quantity: int = Field(description="Above zero in an order, below zero in a cancellation.", examples=[6])
    unit_price: Decimal = Field(
        description="The price of one piece, above zero, with at most four decimals. A string stays exact.",
        allow_inf_nan=False,
        examples=["2.55"],
    )


class NewInvoice(BaseModel):
    """An order; or, with an invoice number that begins with C, the cancellation of one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "invoice_no": "536365",
                    "customer_id": "17850",
                    "country": "United Kingdom",
                    "invoice_date": "2010-12-01 08:26:00",
                    "lines": [
                        {
                            "stock_code": "85123A",
                            "description": "WHITE HANGING HEART T-LIGHT HOLDER",
                            "quantity": 6,
                            "unit_price": "2.55",
                        }
                    ],
                }
            ]
        }
    )

    invoice_no: Code = Field(description="Names the order: sent again, it is the same order.")
    customer_id: Trimmed | None = Field(default=None, description="Who orders. An order without a customer is refused.")
    country: Trimmed = Field(default="", description="Where the customer is.")
    invoice_date: Annotated[datetime, AfterValidator(_in_utc)] = Field(
        description="When the customer ordered; UTC unless it says otherwise."
    )
    lines: list[Line] = Field(description="At least one.")

    @model_validator(mode="after")
    def _follows_the_rules(self) -> NewInvoice:
        found = domain.faults(self.invoice())
        if found:
            raise ValidationError.from_exception_data("NewInvoice", [self._as_error(fault) for fault in found])
        return self

    def _as_error(self, fault: domain.Fault) -> InitErrorDetails:
        faulty: Any = self
        for step in fault.where:
            faulty = faulty[step] if isinstance(step, int) else getattr(faulty, step)
        if isinstance(faulty, Decimal):
            faulty = str(faulty)
        # Without a context, pydantic does not take braces in the message (a customer may have typed some) for a
        # template.
        error = PydanticCustomError(_literal(fault.type), _literal(fault.message))
        return InitErrorDetails(type=error, loc=fault.where, input=faulty)

    def invoice(self) -> domain.Invoice:
        """The same for the domain, which knows nothing of HTTP."""
        return domain.Invoice(
            invoice_no=self.invoice_no,
            customer_id=self.customer_id or "",
            country=self.country,
            invoice_date=self.invoice_date,
            lines=[OrderLine(x.stock_code, x.description, x.quantity, x.unit_price) for x in self.lines],
        )


class Accepted(BaseModel):
    """The order (or its cancellation) is safe and on its way."""

    order_id: str = Field(description="Ask for it at `/orders/{order_id}`.")
    invoice_no: str | None = Field(description="The invoice this answers; none for a cancellation over HTTP.")
    kind: Literal["order", "cancellation"] = Field(description="What was accepted.")


class HistoryEntry(BaseModel):
    """Something that happened to an order."""

    event: str = Field(examples=["InventoryReserved"])
    event_id: str
    time: datetime
    detail: str = Field(examples=["12 pieces set aside"])


class OrderSummary(BaseModel):
    """An order and how it stands."""

    order_id: str
    invoice_no: str | None = Field(description="None in the moment before the order's own event was seen.")
    customer_id: str | None
    country: str | None
    total: str | None = Field(examples=["139.12"])
    status: Status


class OrderDetails(OrderSummary):
    """An order, how it stands, and all that happened to it, oldest first."""

    history: list[HistoryEntry]


class OrderPage(BaseModel):
    """A page of orders. To get the next one, pass `next` as `after`."""

    orders: list[OrderSummary]
    next: str | None = Field(description="None on the last page.")


class Problem(BaseModel):
    """Why a request was not carried out, and what to do."""

    detail: str
