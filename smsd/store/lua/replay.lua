-- replay: a dead letter goes back into the queue as it came, with its attempts forgotten.
local OURS = {
  id = true, reason = true, code = true, detail = true, attempts = true, failed_at = true, lane = true,
}

local function run(request, keys)
  local status = keys[1]
  local fields = entry_of(DEAD, request.letter)
  if not fields then return 'gone' end
  local id, priority = field_of(fields, 'id'), field_of(fields, 'priority')
  -- A retry had gone ahead in the high lane; what says that it is of normal priority goes back in line.
  local lane = priority == 'normal' and 'n' or field_of(fields, 'lane')
  open_the_door()
  local kept = append_all(without(fields, OURS), {'id', id})
  local name = lane .. redis.call('XADD', lane == 'h' and HIGH or QUEUE, '*', unpack(kept))
  redis.call('XDEL', DEAD, request.letter)
  redis.call('HINCRBY', COUNTERS, 'replayed', 1)
  tell(status, id, 'queued', NOW .. ' queued replayed', 'replayed', {'entry', name, 'attempts', 0})
  return 'done'
end
