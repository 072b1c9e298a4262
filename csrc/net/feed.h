/* net/feed.h - bytes for an asyncio.StreamReader, without calls in Python.
 *
 * A stream whose protocol is the standard library's own StreamReaderProtocol
 * does what its data_received() and the reader's feed_data() would do, if
 * both are of exactly those classes and nobody replaced a method.
 *
 * Owns: nothing.   Threads: the loop's.   Python code run here: arbitrary.
 */
#ifndef TAC_NET_FEED_H
#define TAC_NET_FEED_H

#include "state.h"

/* The StreamReader of a protocol, if both are as known.  Returns: new ref, or
 * NULL, no exception set. */
PyObject *tac_feed_reader(TacState *state, PyObject *protocol);

/* Give it bytes.  1; 0: it does not take them, and nothing was done; -1 with
 * an exception. */
int tac_feed(TacState *state, PyObject *reader, const char *data,
             Py_ssize_t size);

int tac_feed_add_functions(PyObject *module, TacState *state);

#endif
