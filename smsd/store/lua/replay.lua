-- replay: a dead letter goes back into the queue as it came, without the fields named in `dropped`.
-- include: add, counters, damage, entries, fields, full, status
-- takes: letter, dropped
-- keys: status
-- answers: done | gone | nameless
-- changes: queue, high, dead, status, events, counters

-- A retry had gone ahead in the high stream; what says that it is of normal priority goes back in line.
-- Other hands may have written a dead letter without it.
local function lane_of(fields)
  local lane, priority = field_of(fields, 'lane'), field_of(fields, 'priority')
  if priority == 'normal' then return 'n' end
  if lane == 'h' or lane == 'n' then return lane end
  return priority == 'high' and 'h' or 'n'
end

local function run(request, keys)
  local status = keys[1]
  need(DEAD)
  local fields = entry_of(DEAD, request.letter)
  if not fields then return 'gone' end
  local id, lane = field_of(fields, 'id'), lane_of(fields)
  if not id then return 'nameless' end -- nothing says whose message it would be
  allow_writes_while_full()
  local kept = append_all(without(fields, request.dropped), {'id', id})
  local name = lane .. add(lane == 'h' and HIGH or QUEUE, kept)
  redis.call('XDEL', DEAD, request.letter)
  count('replayed')
  record(status, id, 'queued', NOW .. ' queued replayed', 'replayed', {'entry', name, 'attempts', 0})
  return 'done'
end
