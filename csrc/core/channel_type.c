/* core/channel_type.c - MemorySendChannel and MemoryReceiveChannel as Python
 * sees them, and the state that they share.
 */
#include "base/args.h"
#include "base/asyncfn.h"
#include "base/errors.h"
#include "core/channel.h"
#include "core/run.h"

#include <structmember.h>

static PyObject *
channel_trap(TacChannelEnd *end, const struct tac_trap_ops *ops,
             PyObject *value)
{
    return (PyObject *)tac_trap_new(end->channel->state, ops,
                                    (PyObject *)end, value);
}

/* Another end of the same kind.  Returns: new ref | NULL+exc. */
static PyObject *
channel_end_new(PyTypeObject *type, TacChannel *channel, bool is_sender)
{
    TacChannelEnd *end = (TacChannelEnd *)type->tp_alloc(type, 0);
    if (end != NULL) {
        end->channel = (TacChannel *)Py_NewRef(channel);
        end->is_sender = is_sender;
        tac_list_init(&end->waits);
        ++*(is_sender ? &channel->open_senders : &channel->open_receivers);
    }
    return (PyObject *)end;
}

/* What a nowait function answers for a try: `value` (owned; NULL: None). */
static PyObject *
channel_answer(TacChannelEnd *end, int tried, PyObject *value)
{
    if (tried > 0) {
        return value == NULL ? Py_NewRef(Py_None) : value;
    }
    if (tried == 0) {
        PyErr_SetNone(end->channel->state->exc_WouldBlock);
    }
    return NULL;
}

/* One side's methods ------------------------------------------------------ */

static const char *const send_names[] = {"value", NULL};
static const struct tac_params send_params = {"send", 1, 1, send_names};
static const struct tac_params send_nowait_params = {"send_nowait", 1, 1,
                                                     send_names};

PyDoc_STRVAR(channel_send_doc,
"send($self, /, value)\n--\n\n"
"Send an object, waiting until there is room for it.\n\n"
"Checkpoint: yes.  Raises: BrokenResourceError if all receiving ends are\n"
"closed, or get closed meanwhile; ClosedResourceError if this object is, or\n"
"gets closed; Cancelled, and then nothing was sent.");

static PyObject *
channel_send(TacChannelEnd *end, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    PyObject *value = NULL;
    if (tac_args_bind(&send_params, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    return channel_trap(end, &tac_channel_send_ops, value);
}

PyDoc_STRVAR(channel_send_nowait_doc,
"send_nowait($self, /, value)\n--\n\n"
"Send an object without waiting.\n\n"
"Checkpoint: no.  Raises: WouldBlock if the buffer is full; otherwise as\n"
"send().");

static PyObject *
channel_send_nowait(TacChannelEnd *end, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *value = NULL;
    if (tac_args_bind(&send_nowait_params, args, nargs, kwnames, &value) < 0)
    {
        return NULL;
    }
    return channel_answer(end, tac_channel_try_send(end, value), NULL);
}

PyDoc_STRVAR(channel_receive_doc,
"receive($self, /)\n--\n\n"
"Receive an object, waiting until there is one.\n\n"
"Checkpoint: yes.  Raises: EndOfChannel if there is none and all sending\n"
"ends are closed, or get closed meanwhile; ClosedResourceError if this\n"
"object is, or gets closed; Cancelled, and then nothing was received.");

static PyObject *
channel_receive(TacChannelEnd *end, PyObject *noargs)
{
    return channel_trap(end, &tac_channel_receive_ops, NULL);
}

PyDoc_STRVAR(channel_receive_nowait_doc,
"receive_nowait($self, /)\n--\n\n"
"Receive an object without waiting.\n\n"
"Checkpoint: no.  Raises: WouldBlock if there is none at the moment;\n"
"otherwise as receive().");

static PyObject *
channel_receive_nowait(TacChannelEnd *end, PyObject *noargs)
{
    PyObject *value = NULL;
    int received = tac_channel_try_receive(end, &value);
    return channel_answer(end, received, value);
}

static PyObject *
channel_am_anext(TacChannelEnd *end)
{
    return channel_trap(end, &tac_channel_next_ops, NULL);
}

/* Both sides' methods ----------------------------------------------------- */

PyDoc_STRVAR(channel_clone_doc,
"clone($self, /)\n--\n\n"
"Make a second object for the same end of the channel, to be closed by\n"
"itself: the other side notices when the last of the clones is closed.\n\n"
"Checkpoint: no.  Raises: ClosedResourceError if this object is closed.");

static PyObject *
channel_clone(TacChannelEnd *end, PyObject *noargs)
{
    if (end->closed) {
        PyErr_SetNone(end->channel->state->exc_ClosedResourceError);
        return NULL;
    }
    return channel_end_new(Py_TYPE(end), end->channel, end->is_sender);
}

PyDoc_STRVAR(send_close_doc,
"close($self, /)\n--\n\n"
"Close this object; a second time it does nothing.\n\n"
"Tasks that wait in send() at this object get ClosedResourceError.  If it\n"
"was the last of the clones, receivers still get what is in the buffer, and\n"
"then EndOfChannel.  Checkpoint: no.");

PyDoc_STRVAR(receive_close_doc,
"close($self, /)\n--\n\n"
"Close this object; a second time it does nothing.\n\n"
"Tasks that wait in receive() at this object get ClosedResourceError.  If it\n"
"was the last of the clones, what is in the buffer is lost, and senders get\n"
"BrokenResourceError.  Checkpoint: no.");

static PyObject *
channel_close(TacChannelEnd *end, PyObject *noargs)
{
    if (tac_channel_close(end) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
channel_aclose(TacChannelEnd *end, PyObject *noargs)
{
    return channel_trap(end, &tac_channel_aclose_ops, NULL);
}

static PyObject *
channel_enter(TacChannelEnd *end, PyObject *noargs)
{
    return Py_NewRef(end);
}

static PyObject *
channel_exit(TacChannelEnd *end, PyObject *const *args, Py_ssize_t nargs)
{
    return tac_args_exit("__exit__", nargs) < 0 ? NULL
                                                : channel_close(end, NULL);
}

static enum tac_trap_step
channel_aenter_begin(TacTrap *trap, TacTask *task)
{
    trap->result = Py_NewRef(trap->first);
    return TAC_TRAP_DONE;
}

static const struct tac_trap_ops channel_aenter_ops = {
    .name = "__aenter__",
    .begin = channel_aenter_begin,
};

static PyObject *
channel_aenter(TacChannelEnd *end, PyObject *noargs)
{
    return channel_trap(end, &channel_aenter_ops, NULL);
}

static PyObject *
channel_aexit(TacChannelEnd *end, PyObject *const *args, Py_ssize_t nargs)
{
    return tac_args_exit("__aexit__", nargs) < 0 ? NULL
                                                 : channel_aclose(end, NULL);
}

static PyObject *
channel_statistics(TacChannel *channel, PyObject *noargs)
{
    return PyObject_CallFunction(
        channel->state->hook_channel_statistics, "nOnnnnn",
        channel->buffer.len, channel->max_size, channel->open_senders,
        channel->open_receivers, channel->senders.count,
        channel->receivers.count, channel->peak);
}

static PyObject *
channel_end_statistics(TacChannelEnd *end, PyObject *noargs)
{
    return channel_statistics(end->channel, NULL);
}

/* The ends as objects ----------------------------------------------------- */

static PyObject *
channel_end_tp_repr(TacChannelEnd *end)
{
    return PyUnicode_FromFormat("<%s channel at %p, using buffer at %p>",
                                end->is_sender ? "send" : "receive", end,
                                end->channel);
}

static int
channel_end_tp_traverse(TacChannelEnd *end, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(end));
    Py_VISIT(end->channel);
    Py_VISIT(end->dict);
    return 0;
}

/* The channel stays, for the methods use it; it clears its own buffer. */
static int
channel_end_tp_clear(TacChannelEnd *end)
{
    Py_CLEAR(end->dict);
    return 0;
}

static void
channel_end_tp_dealloc(TacChannelEnd *end)
{
    PyTypeObject *type = Py_TYPE(end);
    PyObject_GC_UnTrack(end);
    if (end->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)end);
    }
    (void)channel_end_tp_clear(end);
    Py_CLEAR(end->channel);
    type->tp_free(end);
    Py_DECREF(type);
}

#define CHANNEL_FAST(function) (PyCFunction)(void (*)(void))(function)
#define CHANNEL_COMMON_METHODS                                              \
    {"clone", (PyCFunction)channel_clone, METH_NOARGS, channel_clone_doc},  \
    {"aclose", (PyCFunction)channel_aclose, METH_NOARGS,                    \
     "aclose($self, /)\n--\n\nDo the same as close().  Checkpoint: yes."},  \
    {"statistics", (PyCFunction)channel_end_statistics, METH_NOARGS,        \
     "statistics($self, /)\n--\n\n"                                         \
     "Figures about the whole channel with all its clones."},               \
    {"__enter__", (PyCFunction)channel_enter, METH_NOARGS,                  \
     "__enter__($self, /)\n--\n\nReturn the object itself."},               \
    {"__exit__", CHANNEL_FAST(channel_exit), METH_FASTCALL,                 \
     "__exit__($self, exc_type, exc, traceback, /)\n--\n\nAs close()."},    \
    {"__aenter__", (PyCFunction)channel_aenter, METH_NOARGS,                \
     "__aenter__($self, /)\n--\n\nReturn the object itself.  Checkpoint: no."}, \
    {"__aexit__", CHANNEL_FAST(channel_aexit), METH_FASTCALL,               \
     "__aexit__($self, exc_type, exc, traceback, /)\n--\n\nAs aclose()."},  \
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,             \
     "__class_getitem__($type, object, /)\n--\n\nFor use in annotations."},

static PyMethodDef send_methods[] = {
    {"send", CHANNEL_FAST(channel_send), METH_FASTCALL | METH_KEYWORDS,
     channel_send_doc},
    {"send_nowait", CHANNEL_FAST(channel_send_nowait),
     METH_FASTCALL | METH_KEYWORDS, channel_send_nowait_doc},
    {"close", (PyCFunction)channel_close, METH_NOARGS, send_close_doc},
    CHANNEL_COMMON_METHODS
    {NULL},
};

static PyMethodDef receive_methods[] = {
    {"receive", (PyCFunction)channel_receive, METH_NOARGS,
     channel_receive_doc},
    {"receive_nowait", (PyCFunction)channel_receive_nowait, METH_NOARGS,
     channel_receive_nowait_doc},
    {"close", (PyCFunction)channel_close, METH_NOARGS, receive_close_doc},
    CHANNEL_COMMON_METHODS
    {NULL},
};

#undef CHANNEL_FAST
#undef CHANNEL_COMMON_METHODS

static PyMemberDef channel_end_members[] = {
    {"_state", T_OBJECT, offsetof(TacChannelEnd, channel), READONLY},
    {"_closed", T_BOOL, offsetof(TacChannelEnd, closed), READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(TacChannelEnd, dict), READONLY},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TacChannelEnd, weakrefs),
     READONLY},
    {NULL},
};

static PyGetSetDef channel_end_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL},
    {NULL},
};

PyDoc_STRVAR(send_channel_doc,
"The end of a memory channel that objects go into: see open_memory_channel.\n"
"\n"
"Any number of tasks may use one such object, or clones of it, at the same\n"
"time.  Both ``with`` and ``async with`` close it at the end of the block.");

PyDoc_STRVAR(receive_channel_doc,
"The end of a memory channel that objects come out of: see\n"
"open_memory_channel.\n\n"
"Any number of tasks may use one such object, or clones of it, at the same\n"
"time; each object sent is received once.  Both ``with`` and ``async with``\n"
"close it at the end of the block.  ``async for`` receives until the senders\n"
"are closed.");

static PyType_Slot send_channel_slots[] = {
    {Py_tp_doc, (void *)send_channel_doc},
    {Py_tp_new, tac_err_no_constructor},
    {Py_tp_traverse, channel_end_tp_traverse},
    {Py_tp_clear, channel_end_tp_clear},
    {Py_tp_dealloc, channel_end_tp_dealloc},
    {Py_tp_repr, channel_end_tp_repr},
    {Py_tp_methods, send_methods},
    {Py_tp_members, channel_end_members},
    {Py_tp_getset, channel_end_getset},
    {0, NULL},
};

static PyType_Slot receive_channel_slots[] = {
    {Py_tp_doc, (void *)receive_channel_doc},
    {Py_tp_new, tac_err_no_constructor},
    {Py_tp_traverse, channel_end_tp_traverse},
    {Py_tp_clear, channel_end_tp_clear},
    {Py_tp_dealloc, channel_end_tp_dealloc},
    {Py_tp_repr, channel_end_tp_repr},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, channel_am_anext},
    {Py_tp_methods, receive_methods},
    {Py_tp_members, channel_end_members},
    {Py_tp_getset, channel_end_getset},
    {0, NULL},
};

static PyType_Spec send_channel_spec = {
    .name = "trio_asyncio_c.MemorySendChannel",
    .basicsize = sizeof(TacChannelEnd),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = send_channel_slots,
};

static PyType_Spec receive_channel_spec = {
    .name = "trio_asyncio_c.MemoryReceiveChannel",
    .basicsize = sizeof(TacChannelEnd),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = receive_channel_slots,
};

/* The state that they share ----------------------------------------------- */

static PyObject *
channel_get_data(TacChannel *channel, void *closure)
{
    return tac_fifo_list(&channel->buffer);
}

static int
channel_tp_traverse(TacChannel *channel, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(channel));
    Py_VISIT(channel->max_size);
    return tac_fifo_traverse(&channel->buffer, visit, arg);
}

static int
channel_tp_clear(TacChannel *channel)
{
    tac_fifo_clear(&channel->buffer);
    return 0;
}

static void
channel_tp_dealloc(TacChannel *channel)
{
    PyTypeObject *type = Py_TYPE(channel);
    PyObject_GC_UnTrack(channel);
    (void)channel_tp_clear(channel);
    Py_CLEAR(channel->max_size);
    type->tp_free(channel);
    Py_DECREF(type);
}

static PyMethodDef channel_methods[] = {
    {"statistics", (PyCFunction)channel_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\nAs the ends' statistics()."},
    {NULL},
};

static PyGetSetDef channel_getset[] = {
    {"data", (getter)channel_get_data, NULL,
     "What is in the buffer, oldest first, as a new list."},
    {NULL},
};

static PyMemberDef channel_members[] = {
    {"max_buffer_size", T_OBJECT, offsetof(TacChannel, max_size), READONLY},
    {"open_send_channels", T_PYSSIZET, offsetof(TacChannel, open_senders),
     READONLY},
    {"open_receive_channels", T_PYSSIZET,
     offsetof(TacChannel, open_receivers), READONLY},
    {"peak_buffer_used", T_PYSSIZET, offsetof(TacChannel, peak), READONLY},
    {NULL},
};

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, "What all clones of both ends of a memory channel share."},
    {Py_tp_traverse, channel_tp_traverse},
    {Py_tp_clear, channel_tp_clear},
    {Py_tp_dealloc, channel_tp_dealloc},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "trio_asyncio_c._core.MemoryChannelState",
    .basicsize = sizeof(TacChannel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = channel_slots,
};

static TacChannel *
channel_new(TacState *state, PyObject *max_size)
{
    Py_ssize_t limit = PY_SSIZE_T_MAX;
    if (PyLong_Check(max_size)) {
        limit = PyNumber_AsSsize_t(max_size, NULL);
    }
    TacChannel *channel =
        (TacChannel *)state->channel_type->tp_alloc(state->channel_type, 0);
    if (channel != NULL) {
        channel->state = state;
        channel->max_size = Py_NewRef(max_size);
        channel->limit = limit;
        tac_list_init(&channel->senders.traps);
        tac_list_init(&channel->receivers.traps);
    }
    return channel;
}

static PyObject *
channel_open(PyObject *module, PyObject *max_size)
{
    TacState *state = tac_state_of_module(module);
    PyObject *pair = NULL;
    TacChannel *channel = channel_new(state, max_size);
    if (channel == NULL) {
        return NULL;
    }
    PyObject *sender =
        channel_end_new(state->send_channel_type, channel, true);
    PyObject *receiver =
        channel_end_new(state->receive_channel_type, channel, false);
    if (sender != NULL && receiver != NULL) {
        pair = PyTuple_Pack(2, sender, receiver);
    }
    Py_XDECREF(sender);
    Py_XDECREF(receiver);
    Py_DECREF(channel);
    return pair;
}

static PyMethodDef channel_functions[] = {
    {"_open_memory_channel", channel_open, METH_O,
     "_open_memory_channel($module, max_buffer_size, /)\n--\n\n"
     "Make both ends of a channel; the size has been checked: an int that is\n"
     "not negative, or inf.  Checkpoint: no."},
    {NULL},
};

static const char *const send_async_methods[] = {"send", "aclose", NULL};
static const char *const receive_async_methods[] = {"receive", "aclose",
                                                    NULL};

int
tac_channel_add_types(PyObject *module, TacState *state)
{
    state->channel_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &channel_spec, NULL);
    state->send_channel_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &send_channel_spec, NULL);
    state->receive_channel_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &receive_channel_spec, NULL);
    if (state->channel_type == NULL || state->send_channel_type == NULL
        || state->receive_channel_type == NULL
        || tac_asyncfn_replace_all(state->send_channel_type, state,
                                   send_async_methods)
               < 0
        || tac_asyncfn_replace_all(state->receive_channel_type, state,
                                   receive_async_methods)
               < 0
        || PyModule_AddType(module, state->send_channel_type) < 0
        || PyModule_AddType(module, state->receive_channel_type) < 0)
    {
        return -1;
    }
    return PyModule_AddFunctions(module, channel_functions);
}
