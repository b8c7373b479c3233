"""What the document cannot say."""

import schemathesis

UNKNOWN = "x-schemathesis-unknown-property"
WAIT = "x-sealcast-wait"


@schemathesis.hook
def filter_case(context, case):
    """A request may have any headers besides those that are named."""
    return UNKNOWN not in (case.headers or {})


@schemathesis.hook
def map_case(context, case):
    """An entry of the metadata log that is not there is waited for, which takes two seconds each time."""
    wanted = str((case.headers or {}).get(WAIT, ""))
    if wanted.isascii() and wanted.isdigit() and int(wanted) < 2**63:
        case.headers[WAIT] = "1"
    return case
