-- bury: out of the stream, into the dead letters, with the reason; the number `opted_out` gets no more messages.
-- include: counters, damage, dead_letters, deferred, entries, fields, full, in_flight, settle, settle_again, shown, status
-- takes: name, mark, id, reason, code, detail, attempts, line, look_up?, look_up_names?, opted_out?, again?
-- keys: status
-- answers: settled | gone | marked
-- changes: queue, high, deferred, deferred_messages, inflight, dead, optouts, status, finished, events, counters,
--   store, campaign, campaigns_active, contacts
--
-- A look-up shows the fields `look_up`; of an entry that cannot be read, its fields that are named in `look_up_names`.

local function run(request, keys)
  local id, status = request.id, keys[1]
  need(INFLIGHT, (stream_of(request.name)))
  if request.opted_out then need(OPTOUTS) end
  allow_writes_while_full()
  -- A fact about the number, wherever the entry is by now.
  if request.opted_out then redis.call('SADD', OPTOUTS, request.opted_out) end
  local name, fields = attempted_entry(request, status)
  local deferred = not fields and deferred_again(request, status)
  local is_lost = not fields and not deferred and request.again and request.reason == 'in_doubt'
  local values = is_lost and accepted_again(id)
  if values then fields = append_all({'values', values}, request.look_up) end -- its text is lost: see replay
  if not fields and not deferred or is_foreign(name, request.mark) then return settle(name, request.mark, false) end
  local ours = {
    'id', id, 'reason', request.reason, 'code', request.code, 'detail', request.detail,
    'attempts', request.attempts, 'failed_at', NOW, 'lane', string.sub(name, 1, 1),
  }
  local letter = add_dead_letter(fields or deferred, ours)
  settle(name, request.mark, false)
  if deferred then forget_deferred(id) end
  count('buried')
  local why = {
    'letter', letter, 'reason', request.reason, 'code', request.code, 'detail', request.detail,
    'attempts', request.attempts,
  }
  local shown = request.look_up or shown_of(fields or deferred, request.look_up_names)
  record(status, id, 'dead', request.line, request.reason, append_all(shown, why))
  return 'settled'
end
