/* core/channel.c - memory channels: sending, receiving, closing.
 *
 * The Python types are in channel_type.c, the invariants in channel.h.  What
 * wakes a task comes last in each operation, for instruments may run then and
 * do with the channel what they want.
 */
#include "core/channel.h"

#include "base/compat.h"
#include "core/attempt.h"
#include "core/checkpoint.h"
#include "core/run.h"

/* The queues of waiting tasks --------------------------------------------- */

static TacTrap *
channel_first(const struct tac_channel_waits *waits)
{
    return tac_list_is_empty(&waits->traps)
               ? NULL
               : tac_list_entry(waits->traps.next, TacTrap, node);
}

static struct tac_channel_waits *
channel_waits_of(TacChannelEnd *end)
{
    return end->is_sender ? &end->channel->senders : &end->channel->receivers;
}

static enum tac_trap_step
channel_wait(TacTrap *trap, TacTask *task)
{
    TacChannelEnd *end = (TacChannelEnd *)trap->first;
    struct tac_channel_waits *waits = channel_waits_of(end);
    tac_list_append(&waits->traps, &trap->node);
    waits->count++;
    tac_list_append(&end->waits, &trap->mate);
    Py_XSETREF(task->custom_sleep_data, Py_NewRef(end));
    return TAC_TRAP_WAIT;
}

static void
channel_unlink(TacTrap *trap)
{
    if (tac_list_is_linked(&trap->node)) {
        tac_list_unlink(&trap->node);
        tac_list_unlink(&trap->mate);
        channel_waits_of((TacChannelEnd *)trap->first)->count--;
    }
}

/* Wake a waiting task with a value or an error, both stolen and one NULL. */
static int
channel_wake(TacTrap *trap, PyObject *value, PyObject *error)
{
    channel_unlink(trap);
    return tac_task_reschedule(trap->task, value, error);
}

static int
channel_wake_all(struct tac_channel_waits *waits, PyObject *error_type)
{
    TacTrap *trap;
    while ((trap = channel_first(waits)) != NULL) {
        PyObject *error = PyObject_CallNoArgs(error_type);
        if (error == NULL || channel_wake(trap, NULL, error) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What is tried ----------------------------------------------------------- */

static int
channel_check_open(TacChannelEnd *end)
{
    if (end->closed) {
        PyErr_SetNone(end->channel->state->exc_ClosedResourceError);
        return -1;
    }
    return 0;
}

int
tac_channel_try_send(TacChannelEnd *end, PyObject *value)
{
    TacChannel *channel = end->channel;
    if (channel_check_open(end) < 0) {
        return -1;
    }
    if (channel->open_receivers == 0) {
        PyErr_SetNone(channel->state->exc_BrokenResourceError);
        return -1;
    }
    TacTrap *receiver = channel_first(&channel->receivers);
    if (receiver != NULL) {
        if (tac_task_check_run(receiver->task) < 0) {
            return -1;
        }
        return channel_wake(receiver, Py_NewRef(value), NULL) < 0 ? -1 : 1;
    }
    if (channel->buffer.len >= channel->limit) {
        return 0;
    }
    if (tac_fifo_push(&channel->buffer, value) < 0) {
        return -1;
    }
    if (channel->buffer.len > channel->peak) {
        channel->peak = channel->buffer.len;
    }
    return 1;
}

/* The sender's value goes behind those in the buffer, into the place that
 * becomes free. */
static int
channel_receive_from(TacChannel *channel, TacTrap *sender, PyObject **value)
{
    if (tac_task_check_run(sender->task) < 0) {
        return -1;
    }
    if (channel->buffer.len == 0) {
        *value = Py_NewRef(sender->second);
    }
    else if (tac_fifo_push(&channel->buffer, sender->second) == 0) {
        *value = tac_fifo_pop(&channel->buffer);
    }
    else {
        return -1;
    }
    if (channel_wake(sender, NULL, NULL) < 0) {
        Py_CLEAR(*value);
        return -1;
    }
    return 1;
}

int
tac_channel_try_receive(TacChannelEnd *end, PyObject **value)
{
    TacChannel *channel = end->channel;
    if (channel_check_open(end) < 0) {
        return -1;
    }
    TacTrap *sender = channel_first(&channel->senders);
    if (sender != NULL) {
        return channel_receive_from(channel, sender, value);
    }
    if (channel->buffer.len > 0) {
        *value = tac_fifo_pop(&channel->buffer);
        return 1;
    }
    if (channel->open_senders == 0) {
        PyErr_SetNone(channel->state->exc_EndOfChannel);
        return -1;
    }
    return 0;
}

/* Closing ----------------------------------------------------------------- */

/* Before anything is changed: may those be woken who will have to be? */
static int
channel_check_close(TacChannelEnd *end)
{
    TacChannel *channel = end->channel;
    struct tac_list *mate = end->waits.next;
    if (mate != &end->waits
        && tac_task_check_run(tac_list_entry(mate, TacTrap, mate)->task) < 0)
    {
        return -1;
    }
    TacTrap *other = channel_first(end->is_sender ? &channel->receivers
                                                  : &channel->senders);
    return other == NULL ? 0 : tac_task_check_run(other->task);
}

static int
channel_wake_mates(TacChannelEnd *end)
{
    while (!tac_list_is_empty(&end->waits)) {
        TacTrap *trap = tac_list_entry(end->waits.next, TacTrap, mate);
        PyObject *error = PyObject_CallNoArgs(
            end->channel->state->exc_ClosedResourceError);
        if (error == NULL || channel_wake(trap, NULL, error) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Nothing gets anywhere any more. */
static int
channel_break(TacChannel *channel)
{
    int rc = channel_wake_all(&channel->senders,
                              channel->state->exc_BrokenResourceError);
    PyObject *raised = PyErr_GetRaisedException();
    tac_fifo_clear(&channel->buffer);
    PyErr_SetRaisedException(raised);
    return rc;
}

int
tac_channel_close(TacChannelEnd *end)
{
    TacChannel *channel = end->channel;
    if (end->closed) {
        return 0;
    }
    if (channel_check_close(end) < 0) {
        return -1;
    }
    end->closed = true;
    Py_ssize_t *open =
        end->is_sender ? &channel->open_senders : &channel->open_receivers;
    bool is_last = --*open == 0;
    if (channel_wake_mates(end) < 0) {
        return -1;
    }
    if (!is_last) {
        return 0;
    }
    return end->is_sender
               ? channel_wake_all(&channel->receivers,
                                  channel->state->exc_EndOfChannel)
               : channel_break(channel);
}

/* The traps --------------------------------------------------------------- */

static enum tac_trap_step
channel_send_attempt(TacTrap *trap, TacTask *task)
{
    int sent = tac_channel_try_send((TacChannelEnd *)trap->first,
                                    trap->second);
    if (sent == 0) {
        return channel_wait(trap, task);
    }
    return sent < 0 ? TAC_TRAP_ERROR : TAC_TRAP_DONE;
}

static enum tac_trap_step
channel_send_begin(TacTrap *trap, TacTask *task)
{
    return tac_attempt_begin(trap, task, channel_send_attempt);
}

static enum tac_trap_step
channel_send_resume(TacTrap *trap, TacTask *task)
{
    return tac_attempt_resume(trap, task, channel_send_attempt);
}

const struct tac_trap_ops tac_channel_send_ops = {
    .name = "MemorySendChannel.send",
    .begin = channel_send_begin,
    .resume = channel_send_resume,
    .unlink = channel_unlink,
};

/* The value that came at once is kept in `second`. */
static enum tac_trap_step
channel_receive_attempt(TacTrap *trap, TacTask *task)
{
    int received = tac_channel_try_receive((TacChannelEnd *)trap->first,
                                           &trap->second);
    if (received == 0) {
        return channel_wait(trap, task);
    }
    return received < 0 ? TAC_TRAP_ERROR : TAC_TRAP_DONE;
}

static enum tac_trap_step
channel_receive_begin(TacTrap *trap, TacTask *task)
{
    return tac_attempt_begin(trap, task, channel_receive_attempt);
}

static enum tac_trap_step
channel_receive_resume(TacTrap *trap, TacTask *task)
{
    if (trap->phase == TAC_ATTEMPT_SUCCEEDED) {
        Py_XSETREF(trap->result, trap->second);
        trap->second = NULL;
    }
    return tac_attempt_resume(trap, task, channel_receive_attempt);
}

const struct tac_trap_ops tac_channel_receive_ops = {
    .name = "MemoryReceiveChannel.receive",
    .begin = channel_receive_begin,
    .resume = channel_receive_resume,
    .unlink = channel_unlink,
};

/* For "async for", the end of the channel is the end of the loop. */
static enum tac_trap_step
channel_next(TacTrap *trap, enum tac_trap_step step)
{
    if (step == TAC_TRAP_ERROR
        && PyErr_ExceptionMatches(trap->state->exc_EndOfChannel))
    {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    return step;
}

static enum tac_trap_step
channel_next_begin(TacTrap *trap, TacTask *task)
{
    return channel_next(trap, channel_receive_begin(trap, task));
}

static enum tac_trap_step
channel_next_resume(TacTrap *trap, TacTask *task)
{
    return channel_next(trap, channel_receive_resume(trap, task));
}

static PyObject *
channel_next_fail(TacTrap *trap, PyObject *error)
{
    if (!PyErr_GivenExceptionMatches(error, trap->state->exc_EndOfChannel)) {
        return error;
    }
    Py_DECREF(error);
    PyErr_SetNone(PyExc_StopAsyncIteration);
    return PyErr_GetRaisedException();
}

const struct tac_trap_ops tac_channel_next_ops = {
    .name = "MemoryReceiveChannel.__anext__",
    .begin = channel_next_begin,
    .resume = channel_next_resume,
    .fail = channel_next_fail,
    .unlink = channel_unlink,
};

static enum tac_trap_step
channel_aclose_begin(TacTrap *trap, TacTask *task)
{
    return tac_channel_close((TacChannelEnd *)trap->first) < 0
               ? TAC_TRAP_ERROR
               : TAC_TRAP_YIELD;
}

const struct tac_trap_ops tac_channel_aclose_ops = {
    .name = "aclose",
    .begin = channel_aclose_begin,
    .resume = tac_checkpoint_resume,
};
