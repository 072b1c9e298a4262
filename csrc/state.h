/* state.h - the module's state: types, names, and what Python supplies.
 *
 * One TacState a module object, so one an interpreter; there are no C
 * globals.  Core objects reach it as `runner->state` (the runner holds the
 * module), types by PyType_GetModuleState.
 *
 * Owns: every reference in it, till module_clear.
 * Threads: any that hold the GIL.   Python code run here: none.
 */
#ifndef TAC_STATE_H
#define TAC_STATE_H

#include "base/freelist.h"
#include "base/list.h"

#include <Python.h>

struct TacRunner;
struct tac_openssl;
struct TacTrap;

/* Live objects, counted for the tests. */
/* Kinds of connections. */
enum tac_made {
    TAC_MADE_STREAM,
    TAC_MADE_DATAGRAM,
    TAC_MADE_READ_PIPE,
    TAC_MADE_WRITE_PIPE,
    TAC_MADE_TLS,
    TAC_MADE_KINDS,
};

struct tac_counts {
    Py_ssize_t runners, tasks, nurseries, scopes, traps, handles, watches,
        sock_calls, transports, tls;
    Py_ssize_t made[TAC_MADE_KINDS]; /* ever, not how many are alive */
};

/* A bytes object that is used again: see net/spare.h. */
struct tac_spare {
    PyObject *bytes; /* owned or NULL */
    Py_ssize_t room; /* bytes that it has memory for; 0: none is there */
};

#define TAC_SPARES 4

/* X(name): interned strings, state->str_<name>. */
#define TAC_INTERNED(X)                                                     \
    X(context) X(eager_start) X(throw) X(value) X(error) X(cr_running)      \
    X(__qualname__) X(__module__) X(func) X(current_time)                   \
    X(deadline_to_sleep_time) X(_autojump) X(source) X(reason)              \
    X(source_task) X(explicit) X(deadline) X(nursery) X(unknown)            \
    X(misnesting) X(KeyboardInterrupt) X(split) X(add_note) X(task_status)  \
    X(_run) X(_cancelled) X(_source_traceback) X(call_exception_handler)    \
    X(get_loop) X(add_done_callback) X(result) X(cancel) X(done)            \
    X(set_result) X(set_exception) X(create_future) X(create_task)          \
    X(_asyncio_future_blocking) X(fileno) X(_set_running_loop)              \
    X(_current_handle) X(slow_callback_duration) X(_call_cancelled)         \
    X(_check_thread) X(_check_callback) X(__name__) X(Future) X(Task)       \
    X(name) X(_create_other_future) X(_create_other_task)                   \
    X(_kept_transports) X(data) X(_add_reader) X(_add_writer)               \
    X(_ensure_fd_no_transport) X(_ensure_resolved) X(accept) X(connect)     \
    X(sendto) X(setblocking) X(getsockopt) X(family) X(type) X(proto)       \
    X(recvfrom) X(time) X(call_soon) X(connection_made) X(connection_lost)  \
    X(data_received) X(get_buffer) X(buffer_updated) X(eof_received)        \
    X(pause_writing) X(resume_writing) X(_call_connection_lost) X(_attach)  \
    X(_detach) X(set_protocol) X(close) X(_extra) X(feed_data)              \
    X(_wakeup_waiter) X(_stream_reader_wr) X(_eof) X(_buffer) X(_waiter)    \
    X(cancelled) X(_limit) X(_transport) X(_paused) X(pause_reading)        \
    X(_sslobj) X(pending) X(read) X(write) X(join) X(_write_backlog)        \
    X(error_received) X(datagram_received) X(_describe) X(socket)           \
    X(_sockets) X(_clients) X(_remove) X(_pending_removals) X(do_handshake) \
    X(_server_side) X(_call) X(run_asyncio) X(run_trio) X(__doc__)          \
    X(_get_running_loop) X(trio) X(asyncio) X(get_coro) X(cr_suspended)     \
    X(_must_cancel) X(_fut_waiter) X(cancelling) X(uncancel)                \
    X(_task_done) X(_task_failed) X(exception) X(set_name) X(__aiter__) X(__aenter__)   \
    X(_enter_slowly) X(_serve) X(_exit) X(_exit_with) X(_close_unused)      \
    X(_cancel_body) X(_cancel_requested) X(__self__)

/* X(name): classes of trio_asyncio_c._exceptions, state->exc_<name>. */
#define TAC_EXCEPTIONS(X)                                                 \
    X(Cancelled) X(TrioInternalError) X(RunFinishedError)                 \
    X(BusyResourceError) X(ClosedResourceError) X(BrokenResourceError)    \
    X(EndOfChannel) X(TooSlowError) X(WouldBlock)

/* X(name): Python functions handed over by _core._set_hooks, called where
 * C would gain nothing, and the thread-local object whose attribute `name` it
 * sets when the flavour of what runs changes; state->hook_<name>, NULL until
 * set. */
#define TAC_HOOKS(X)                                                        \
    X(coroutine_or_error) X(wrap_awaitable) X(system_clock) X(adapt_asyncio)\
    X(call_protected) X(log_instrument_error) X(new_thread) X(raise_error)  \
    X(collapse_group) X(format_source) X(slow_callback) X(handle_context)   \
    X(iter_await_frames) X(parking_statistics) X(run_statistics)            \
    X(run_in_thread) X(foreign_yield) X(warn_nonstrict) X(library_local)    \
    X(crossing_reason) X(outcome) X(cancel_reason) X(run_sync_soon_task)    \
    X(event_statistics) X(lock_statistics) X(channel_statistics)            \
    X(log_transport) X(log_lost_write) X(report_accept) X(log_lost_pipe)    \
    X(log_closed) X(log_refusal) X(cancel_message) X(end_cancel)            \
    X(is_unwinding)                                                         \
    X(check_outside) X(raise_in_aexit) X(aio_entry) /* a class */           \
    X(current_loop) /* a ContextVar */

/* X(name): heap types, state-><name>_type. */
#define TAC_TYPES(X)                                                        \
    X(runner) X(task) X(native_task) X(nursery) X(nursery_manager)          \
    X(task_status) X(scope) X(trap) X(raise_cancel) X(cancel_status)        \
    X(async_function) X(parking_lot) X(run_var) X(run_var_token)            \
    X(trio_token) X(worker) X(event) X(channel) X(send_channel)             \
    X(receive_channel) X(loop) X(handle) X(timer_handle)                    \
    X(fd_watch) X(executor_job) X(waiter) X(trio_call) X(trio_future)       \
    X(aio_call) X(aio_as_trio) X(trio_as_aio) X(aio_task)                   \
    X(aio_future) X(sock_call) X(socket) X(thread_handle) X(stream)         \
    X(stream_transport) X(listener) X(connecting) X(aio_server)             \
    X(aio_weakset) X(aio_reader_protocol) X(aio_reader) X(tls)              \
    X(tls_transport) X(datagram) X(datagram_transport) X(pipe)              \
    X(read_pipe_transport) X(write_pipe_transport) X(scoped) X(group)       \
    X(scope_watch)

/* X(name): other owned objects. */
#define TAC_OBJECTS(X)                                                    \
    X(cancelled_create)    /* Cancelled._create */                        \
    X(cancelled_kwnames)   /* ("source", "reason", "source_task") */      \
    X(abort_succeeded)     /* a member of Abort */                        \
    X(abort_failed)        /* a member of Abort */                        \
    X(exception_group)     /* BaseExceptionGroup */                       \
    X(marker)              /* what a trap yields: "see task->trap" */     \
    X(idle_workers)        /* list of parked worker threads */            \
    X(aio_cancelled_error) /* of the running interpreter's asyncio; */    \
    X(aio_kwnames)         /* ("context",) as its C Tasks pass it; */     \
    X(aio_events)          /* and the dicts of its modules futures */     \
    X(aio_futures_dict)    /* and tasks; these are NULL until the */      \
    X(aio_tasks_dict)      /* first loop */                               \
    X(aio_add_done_callback) X(aio_cancelled) /* of its C Tasks */        \
    X(aio_done) X(aio_exception) X(aio_result) X(aio_set_name)            \
    X(aio_future_done) X(aio_future_set_result) /* of its C Futures */    \
    X(aio_add_awaited_by) X(aio_discard_awaited_by) /* from 3.14 on */    \
    X(aio_current_task)    /* asyncio.current_task; the dict that it */   \
    X(aio_current_tasks)   /* looks into, NULL from 3.14 on */            \
    X(socket_methods)      /* of _socket.socket: see aio/sock.c */        \
    X(socket_connect)      /* its connect(); with that, NULL until known, */ \
    X(aio_connect_methods) /* what _learn_connect() was told */           \
    X(aio_connect_options)                                                \
    X(aio_server_attach) X(aio_server_detach)                             \
    X(aio_base_events_dict)                                               \
    X(aio_base_loop)       /* asyncio.BaseEventLoop */                    \
    X(aio_base_time)       /* its time(), unpatched */                    \
    X(aio_buffered_protocol) /* asyncio.BufferedProtocol */               \
    X(aio_set_result)      /* asyncio's, of a waiter */                   \
    X(aio_feed_data_received) /* of its StreamReaderProtocol */           \
    X(aio_feed_feed_data)     /* of its StreamReader */                   \
    X(aio_feed__wakeup_waiter)                                            \
    X(context_kwnames)     /* ("context",) */                             \
    X(empty_context)       /* of callbacks that run no code of programs */ \
    X(ssl_protocol)        /* asyncio.sslproto.SSLProtocol; this and */   \
    X(ssl_again)           /* what follows is NULL until the first */     \
    X(ssl_error)           /* ssl.SSLError */                             \
    X(ssl_object_type)     /* TLS connection: see net/tls_setup.c */      \
    X(ssl_socket_type)                                                    \
    X(memory_bio_type)                                                    \
    X(tls_handshake) X(tls_wrapped) X(tls_flushing) X(tls_shutdown)       \
    X(tls_spare)           /* a bytearray to read into, if not in use */ \
    X(aio_sendto)          /* the method of its datagram transports */

typedef struct TacState {
#define X(name) PyTypeObject *name##_type;
    TAC_TYPES(X)
#undef X
#define X(name) PyObject *exc_##name;
    TAC_EXCEPTIONS(X)
#undef X
#define X(name) PyObject *str_##name;
    TAC_INTERNED(X)
#undef X
#define X(name) PyObject *hook_##name;
    TAC_HOOKS(X)
#undef X
#define X(name) PyObject *name;
    TAC_OBJECTS(X)
#undef X
    /* Of the interpreter's C Task, or NULL: its cancelling(), its wake-up. */
    PyCFunction aio_cancelling;
    const PyMethodDef *aio_wakeup;
    bool aio_locks_handles; /* those of call_soon_threadsafe: from 3.14 on */
    uint64_t next_task_counter;
    struct tac_list runners;  /* of TacRunner.state_node: all there are */
    /* Executor jobs in worker threads, of this process only, and who waits
     * for them to end (owned by those, NULL: nobody). */
    Py_ssize_t executor_busy;
    long executor_pid;
    struct tac_gate *executor_gate;
    struct tac_list breakers; /* of struct tac_breaker.state_node */

    struct tac_openssl *openssl; /* owned; NULL: MemoryBIOs it is */
    bool tls_use_direct;
    Py_ssize_t tls_transport_offset; /* of a TlsTransport's protocol */

    Py_tss_t runner_key; /* the thread's running TacRunner, borrowed */
    struct tac_freelist free_traps;
    struct tac_freelist free_scopes;
    struct tac_freelist free_handles;
    struct tac_freelist free_sock_calls;
    struct tac_freelist free_thread_handles;
    struct tac_counts counts;
    /* Transports (net), from when their type was made. */
    Py_ssize_t socket_fd_offset; /* of a socket object's number, an int */
    bool server_takes_transport; /* Server._attach() does, from 3.13 on */
    char *read_buffer;           /* owned: see net/transport.h; or NULL */
    struct tac_spare spares[TAC_SPARES]; /* net/spare.h; the newest first */
    char *datagram_buffer;       /* owned: see net/datagram.c; or NULL */
    int workers_retired; /* worker threads end with their jobs */
} TacState;

extern struct PyModuleDef tac_module_def;

static inline TacState *
tac_state_of_module(PyObject *module)
{
    return (TacState *)PyModule_GetState(module);
}

/* By a type of ours, or a subclass of one; walks the bases: not for hot
 * paths. */
static inline TacState *
tac_state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &tac_module_def);
    return module == NULL ? NULL : tac_state_of_module(module);
}

#endif
