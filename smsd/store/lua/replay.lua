-- replay: a dead letter goes back into the queue as it came, without the fields named in `dropped`.
-- include: add, counters, damage, entries, events, fields, full, recipients, status
-- takes: letter, dropped
-- keys: status
-- answers: done | gone | nameless
-- changes: queue, high, dead, status, finished, events, counters, campaign, campaigns_active, contacts

-- Initial of the stream that the message joins: the one that it was in, but for a retry of normal priority,
-- which had gone ahead in the high stream. Other hands may have written a dead letter without either.
local function stream_to_join(fields)
  local former, priority = field_of(fields, 'lane'), field_of(fields, 'priority')
  if priority == 'normal' then return 'n' end
  if former == 'h' or former == 'n' then return former end
  return priority == 'high' and 'h' or 'n'
end

-- Of a campaign's message in doubt, older data may know the recipient's values alone. Then another is made of those.
local function is_made_anew(id, fields)
  local values = field_of(fields, 'values')
  return values and not field_of(fields, 'message') and undo_expansion(id, values)
end

local function run(request, keys)
  local status = keys[1]
  need(DEAD)
  local fields = entry_of(DEAD, request.letter)
  if not fields then return 'gone' end
  local id, initial = field_of(fields, 'id'), stream_to_join(fields)
  if not id then return 'nameless' end -- nothing says whose message it would be
  allow_writes_while_full()
  if is_made_anew(id, fields) then
    redis.call('XDEL', DEAD, request.letter)
    redis.pcall('UNLINK', status)
    count('replayed')
    announce(id, 'queued', 'replayed')
    return 'done'
  end
  local kept = append_all(without(fields, request.dropped), {'id', id})
  local name = initial .. add(initial == 'h' and HIGH or QUEUE, kept)
  redis.call('XDEL', DEAD, request.letter)
  count('replayed')
  record(status, id, 'queued', NOW .. ' queued replayed', 'replayed', {'entry', name, 'attempts', 0})
  return 'done'
end
