/* net/pipe.h - transports of one direction: pipes, FIFOs, terminals, and
 * sockets that are used like these.
 *
 * See net/transport.h, of which these are two kinds.  What has the fd is the
 * program's own object (`sock` in the base); its number is asked for once.
 * The reader of a write transport waits for its peer to be gone.
 *
 * Owns: the bytes that wait to be sent.
 * Threads: the loop's.   Python code run here: arbitrary, unless said.
 */
#ifndef TAC_NET_PIPE_H
#define TAC_NET_PIPE_H

#include "net/outbuf.h"
#include "net/transport.h"

typedef struct TacPipe {
    TacTransport base;
    struct tac_outbuf out;
    int expected;       /* bytes to read next; 0: few */
    unsigned long vain; /* writes after the end; what asyncio shows */
} TacPipe;

/* Fill a transport and let it begin.  0, or -1 with an exception. */
int tac_pipe_start(TacState *state, PyObject *transport,
                   const struct tac_transport_spec *spec, bool writes);

/* As transport._close(exc), NULL: None.  0, or -1 with an exception. */
int tac_pipe_close(TacPipe *p, PyObject *exc);

/* As the methods of these names.  0, or -1 with an exception. */
int tac_pipe_write(TacPipe *p, PyObject *data);
int tac_pipe_write_eof(TacPipe *p);

int tac_pipe_add_types(PyObject *module, TacState *state);

#endif
