-- mark_again: older data has forgotten that messages were being sent: record it there again. Of each the names that its
-- entry may have, its mark and its id. Keys: the status of each. Returns how many were recorded.
-- One that waits there to be sent again becomes a dead letter in doubt; should it turn out to be sent, that is void.
local DOUBT = {reason = 'in_doubt', code = '', detail = 'it was being sent when older data came'}

local function mark_entry(names, mark)
  for _, name in ipairs(names) do
    if entry_of(stream_of(name)) then return redis.call('HSETNX', INFLIGHT, name, mark) end
  end
end

local function bury_waiting(id, status)
  if not redis.call('ZSCORE', DEFERRED, id) then return 0 end
  bury_deferred(id, status, redis.call('HGET', MESSAGES, id) or '', DOUBT)
  count('buried')
  return 1
end

local function run(request, keys)
  need(INFLIGHT, DEFERRED, MESSAGES)
  local recorded = 0
  open_the_door()
  for i, record in ipairs(request.records) do
    local names, mark, id = unpack(record)
    recorded = recorded + (mark_entry(names, mark) or bury_waiting(id, keys[i]))
  end
  return recorded
end
