-- promote: due messages go back into the queue. Returns how many did.
-- One that has been in line before goes ahead of those that have not: it has waited.
local promoted = 0
for i, id in ipairs(take_list()) do
  local due = redis.call('ZSCORE', DEFERRED, id)
  local packed = due and tonumber(due) <= tonumber(NOW) and redis.call('HGET', MESSAGES, id)
  if packed then
    redis.call('ZREM', DEFERRED, id)
    redis.call('HDEL', MESSAGES, id)
    local fields = cjson.decode(packed)
    local ahead = field_of(fields, 'priority') == 'high' or field_of(fields, 'attempts')
    local name = (ahead and 'h' or 'n') .. redis.call('XADD', ahead and HIGH or QUEUE, '*', unpack(fields))
    redis.call('HINCRBY', COUNTERS, 'promoted', 1)
    redis.call('HDEL', KEYS[10 + i], 'due')
    tell(KEYS[10 + i], id, 'queued', NOW .. ' queued', 'due', {'entry', name})
    promoted = promoted + 1
  end
end
return promoted
