-- promote: due messages go back into the queue. Returns how many did. Keys: the status of each.
-- What no text can be made of is buried instead. One that has been in line before goes ahead of those that have not: it has waited.
-- `foreign` tells, in hexadecimal digits, what stands where an id should, of those whose id had to be made up.
local function octets_of(digits)
  return (string.gsub(digits, '..', function(digit) return string.char(tonumber(digit, 16)) end))
end

local function promote(id, status, foreign)
  local name = foreign and octets_of(foreign) or id
  local due = redis.call('ZSCORE', DEFERRED, name)
  if not due or tonumber(due) > tonumber(NOW) then return 0 end
  local packed = redis.call('HGET', MESSAGES, name)
  open_the_door()
  if not packed then -- by other hands: nothing is left to send, and the rest must not wait for it
    redis.call('ZREM', DEFERRED, name)
    return 0
  end
  local fields = not foreign and unpacked(packed)
  if not fields then
    bury_deferred(id, status, packed, INVALID, name)
    count('buried')
    return 0
  end
  local ahead = field_of(fields, 'priority') == 'high' or field_of(fields, 'attempts')
  local name = (ahead and 'h' or 'n') .. redis.call('XADD', ahead and HIGH or QUEUE, '*', unpack(fields))
  redis.call('ZREM', DEFERRED, id)
  redis.call('HDEL', MESSAGES, id)
  redis.call('HINCRBY', COUNTERS, 'promoted', 1)
  tell(status, id, 'queued', NOW .. ' queued', 'due', {'entry', name})
  return 1
end

local function run(request, keys)
  local promoted = 0
  for i, id in ipairs(request.ids) do promoted = promoted + promote(id, keys[i], request.foreign[id]) end
  return promoted
end
