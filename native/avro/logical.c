/* Python values of logical types: datetime, date, time, timedelta and UUID, between their objects and plain numbers. */
#include "codec.h"
#include <datetime.h>

#define DAY_MICROS 86400000000LL
#define EPOCH_DAY 719163 /* date(1970, 1, 1).toordinal() */
#define LAST_DAY 3652059 /* date.max.toordinal() */

static PyTypeObject *uuid_type;
static PyObject *uuid_safety;      /* SafeUUID.unknown: what every UUID has that was made from its number */
static PyObject *int_name, *is_safe_name;
static Py_ssize_t uuid_int_offset, uuid_safety_offset;

int
values_init(void)
{
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL) {
        return -1;
    }
    int_name = PyUnicode_InternFromString("int");
    is_safe_name = PyUnicode_InternFromString("is_safe");
    PyObject *module = PyImport_ImportModule("uuid");
    if (module == NULL || int_name == NULL || is_safe_name == NULL) {
        return -1;
    }
    uuid_type = (PyTypeObject *)PyObject_GetAttrString(module, "UUID");
    PyObject *safety = PyObject_GetAttrString(module, "SafeUUID");
    uuid_safety = safety ? PyObject_GetAttrString(safety, "unknown") : NULL;
    Py_XDECREF(safety);
    Py_DECREF(module);
    if (uuid_type == NULL || uuid_safety == NULL) {
        return -1;
    }
    /* UUID keeps its number in slots; were that ever otherwise, Python's codec would read and write UUIDs. */
    Py_XDECREF(slot_offset((PyObject *)uuid_type, int_name, &uuid_int_offset));
    Py_XDECREF(slot_offset((PyObject *)uuid_type, is_safe_name, &uuid_safety_offset));
    PyErr_Clear();
    return 0;
}

static inline int64_t
floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

/* Year, month and day of a day counted from 1 January of the year 1 (which is day 1).
 * Source: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. */
static inline void
civil(int64_t ordinal, int *year, int *month, int *day)
{
    int64_t z = ordinal + 305; /* days since 1 March of the year 0 */
    int64_t era = z / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

static inline int64_t
ordinal_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = y / 400; /* years from 1 on: never negative */
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 305;
}

PyObject *
timestamp_value(int64_t n, int unit, int local)
{
    if (unit == UNIT_MILLIS) {
        if (n > INT64_MAX / 1000 || n < INT64_MIN / 1000) {
            return NULL;
        }
        n *= 1000;
    }
    else if (unit == UNIT_NANOS) {
        n = floor_div(n, 1000);
    }
    int64_t days = floor_div(n, DAY_MICROS);
    int64_t micros = n - days * DAY_MICROS;
    int64_t ordinal = days + EPOCH_DAY;
    if (ordinal < 1 || ordinal > LAST_DAY) {
        return NULL;
    }
    int year, month, day;
    civil(ordinal, &year, &month, &day);
    int seconds = (int)(micros / 1000000);
    return PyDateTimeAPI->DateTime_FromDateAndTime(year, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60,
                                                   (int)(micros % 1000000), local ? Py_None : PyDateTime_TimeZone_UTC,
                                                   PyDateTimeAPI->DateTimeType);
}

PyObject *
date_value(int64_t days)
{
    if (days < 1 - EPOCH_DAY || days > LAST_DAY - EPOCH_DAY) {
        return NULL;
    }
    int year, month, day;
    civil(days + EPOCH_DAY, &year, &month, &day);
    return PyDate_FromDate(year, month, day);
}

PyObject *
time_value(int64_t n, int unit)
{
    if (n < 0 || n >= (unit == UNIT_MILLIS ? DAY_MICROS / 1000 : DAY_MICROS)) {
        return NULL;
    }
    n = unit == UNIT_MILLIS ? n * 1000 : n;
    int seconds = (int)(n / 1000000);
    return PyTime_FromTime(seconds / 3600, seconds / 60 % 60, seconds % 60, (int)(n % 1000000));
}

PyObject *
timedelta_value(int64_t micros)
{
    int64_t days = floor_div(micros, DAY_MICROS);
    micros -= days * DAY_MICROS;
    return PyDelta_FromDSU((int)days, (int)(micros / 1000000), (int)(micros % 1000000));
}

int
write_timestamp(Writer *w, PyObject *value, int unit)
{
    /* Any other zone has an offset that only its own code knows. */
    if (!PyDateTime_CheckExact(value) || PyDateTime_DATE_GET_TZINFO(value) != PyDateTime_TimeZone_UTC) {
        return -1;
    }
    int64_t days = ordinal_of(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value));
    int64_t seconds = PyDateTime_DATE_GET_HOUR(value) * 3600 + PyDateTime_DATE_GET_MINUTE(value) * 60 +
                      PyDateTime_DATE_GET_SECOND(value);
    int64_t n = ((days - EPOCH_DAY) * 86400 + seconds) * 1000000 + PyDateTime_DATE_GET_MICROSECOND(value);
    return write_long(w, unit == UNIT_MILLIS ? floor_div(n, 1000) : n);
}

int
write_date(Writer *w, PyObject *value)
{
    if (!PyDate_CheckExact(value)) {
        return -1;
    }
    return write_long(w, ordinal_of(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value),
                                    PyDateTime_GET_DAY(value)) - EPOCH_DAY);
}

int
write_time(Writer *w, PyObject *value, int unit)
{
    if (!PyTime_CheckExact(value) || PyDateTime_TIME_GET_TZINFO(value) != Py_None) {
        return -1;
    }
    int64_t seconds = PyDateTime_TIME_GET_HOUR(value) * 3600 + PyDateTime_TIME_GET_MINUTE(value) * 60 +
                      PyDateTime_TIME_GET_SECOND(value);
    int64_t n = seconds * 1000000 + PyDateTime_TIME_GET_MICROSECOND(value);
    return write_long(w, unit == UNIT_MILLIS ? n / 1000 : n);
}

int
write_timedelta(Writer *w, PyObject *value)
{
    if (!PyDelta_CheckExact(value)) {
        return -1;
    }
    int64_t days = PyDateTime_DELTA_GET_DAYS(value);
    if (days > 100000000 || days < -100000000) {
        return -1; /* near the end of 64 bits, where Python decides */
    }
    return write_long(w, (days * 86400 + PyDateTime_DELTA_GET_SECONDS(value)) * 1000000 +
                             PyDateTime_DELTA_GET_MICROSECONDS(value));
}

/* -- UUIDs -- */

PyObject *
uuid_from_bytes(const uint8_t *s)
{
    if (uuid_int_offset == 0 || uuid_safety_offset == 0) {
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *number = PyLong_FromUnsignedNativeBytes(s, 16, Py_ASNATIVEBYTES_BIG_ENDIAN);
#else
    PyObject *number = _PyLong_FromByteArray(s, 16, 0, 0);
#endif
    if (number == NULL) {
        return NULL;
    }
    PyObject *value = uuid_type->tp_alloc(uuid_type, 0);
    if (value == NULL) {
        Py_DECREF(number);
        return NULL;
    }
    *(PyObject **)((char *)value + uuid_int_offset) = number;
    *(PyObject **)((char *)value + uuid_safety_offset) = Py_NewRef(uuid_safety);
    return value;
}

static inline int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

PyObject *
uuid_from_text(const uint8_t *s, Py_ssize_t n)
{
    /* The usual form only; Python knows the others. */
    if (n != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-') {
        return NULL;
    }
    uint8_t bytes[16];
    int at = 0;
    for (int i = 0; i < 16; i++) {
        at += at == 8 || at == 13 || at == 18 || at == 23;
        int high = hex_digit(s[at]), low = hex_digit(s[at + 1]);
        if (high < 0 || low < 0) {
            return NULL;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return uuid_from_bytes(bytes);
}

int
write_uuid(Writer *w, PyObject *value)
{
    static const char digits[] = "0123456789abcdef";
    if (!Py_IS_TYPE(value, uuid_type) || uuid_int_offset == 0) {
        return -1;
    }
    PyObject *number = *(PyObject **)((char *)value + uuid_int_offset);
    if (number == NULL || !PyLong_CheckExact(number) || reserve(w, 37) < 0) {
        return -1;
    }
    uint8_t bytes[16];
#if PY_VERSION_HEX >= 0x030D0000
    Py_ssize_t size = PyLong_AsNativeBytes(number, bytes, 16, Py_ASNATIVEBYTES_BIG_ENDIAN |
                                           Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE);
    if (size < 0 || size > 16) {
        return -1;
    }
#else
    if (_PyLong_AsByteArray((PyLongObject *)number, bytes, 16, 0, 0) < 0) {
        return -1;
    }
#endif
    *w->p++ = 72; /* the length, 36 */
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *w->p++ = '-';
        }
        *w->p++ = (uint8_t)digits[bytes[i] >> 4];
        *w->p++ = (uint8_t)digits[bytes[i] & 15];
    }
    return 0;
}
