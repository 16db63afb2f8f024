"""Counts what holds and says what does not; for the tests that run difftune."""
import sys

passed = failed = 0


def check(what, holds, detail="", verbose=False):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    if not holds:
        print("FAIL", what, detail, flush=True)
    elif verbose:
        print("ok  ", what, flush=True)


def end_test(more=""):
    """Ends the test."""
    print(f"{passed} passed, {failed} failed{more}")
    sys.exit(failed != 0)
