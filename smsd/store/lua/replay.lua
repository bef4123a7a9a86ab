-- replay: a dead letter goes back into the queue as it came, without the fields named in `dropped`.

-- A retry had gone ahead in the high lane; what says that it is of normal priority goes back in line.
-- Other hands may have written a letter without a lane.
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
  if not id then return 'nameless' end -- nothing says whose text it would be
  open_the_door()
  local kept = append_all(without(fields, request.dropped), {'id', id})
  local name = lane .. add(lane == 'h' and HIGH or QUEUE, kept)
  redis.call('XDEL', DEAD, request.letter)
  count('replayed')
  tell(status, id, 'queued', NOW .. ' queued replayed', 'replayed', {'entry', name, 'attempts', 0})
  return 'done'
end
