import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines import signals


def stop_here(number: int) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait(10)


def raised(number: int) -> signals.Stopped:
    with pytest.raises(signals.Stopped) as caught, signals.stoppable():
        stop_here(number)
    for handled in signals.HANDLED:  # the block has left its handler for a second signal
        signal.signal(handled, signal.default_int_handler if handled == signal.SIGINT else signal.SIG_DFL)
    return caught.value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_block(number: signal.Signals, code: int):
    stopped = raised(number)
    assert stopped.signal == number
    assert stopped.code == code


def test_without_a_signal_the_handlers_are_the_old_ones_again():
    before = [signal.getsignal(number) for number in signals.HANDLED]
    with signals.stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in signals.HANDLED] == before


def test_what_replaces_handlers_does_not_keep_them():
    before = signal.getsignal(signal.SIGTERM)
    with signals.kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(signals.Stopped), signals.kept():
        sys.exit(signal.SIGTERM)  # as Ray's handler does
    with pytest.raises(SystemExit), signals.kept():
        sys.exit(3)


def test_beside_gives_the_result_or_the_error_and_is_left_by_a_signal():
    assert signals.beside(lambda: threading.current_thread().name) == "beside"
    with pytest.raises(KeyError):
        signals.beside(lambda: {}["x"])
    forever, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        forever.wait(60)

    def stop() -> None:
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    try:
        with pytest.raises(signals.Stopped), signals.stoppable():
            signals.beside(wait)
    finally:
        forever.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_in_another_thread_nothing_is_caught_and_nothing_moved():
    found = []

    def work() -> None:
        with signals.stoppable(), signals.kept():
            found.append(signals.beside(threading.current_thread))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [thread]


def test_at_most_gives_up():
    over = threading.Event()
    assert signals.at_most(60, lambda: None)
    assert not signals.at_most(60, lambda: {}["x"])
    assert not signals.at_most(0.01, lambda: over.wait(60))
    over.set()


def test_a_second_signal_ends_the_process_at_once():
    code = (
        "import os, signal, time\n"
        "from pipelines import signals\n"
        "with signals.stoppable():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaning', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
        "        print('not reached')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (130, "cleaning\n")
