-- promote: due messages go back into the queue. Returns how many did. Keys: the status of each.
-- One that has been in line before goes ahead of those that have not: it has waited.
local function promote(id, status)
  local due = redis.call('ZSCORE', DEFERRED, id)
  local packed = due and tonumber(due) <= tonumber(NOW) and redis.call('HGET', MESSAGES, id)
  if not packed then return 0 end
  redis.call('ZREM', DEFERRED, id)
  redis.call('HDEL', MESSAGES, id)
  local fields = cjson.decode(packed)
  local ahead = field_of(fields, 'priority') == 'high' or field_of(fields, 'attempts')
  local name = (ahead and 'h' or 'n') .. redis.call('XADD', ahead and HIGH or QUEUE, '*', unpack(fields))
  redis.call('HINCRBY', COUNTERS, 'promoted', 1)
  tell(status, id, 'queued', NOW .. ' queued', 'due', {'entry', name})
  return 1
end

local function run(request, keys)
  local promoted = 0
  for i, id in ipairs(request.ids) do promoted = promoted + promote(id, keys[i]) end
  return promoted
end
