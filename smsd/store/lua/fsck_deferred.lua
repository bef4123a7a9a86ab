-- fsck_deferred: due times without a message, and messages without a due time. Keys: the status of each id.
-- Returns {id, what is missing, what its status says} of each. Mended: a message goes back to be due, unless
-- its status does not say that it waits: then it may have been sent, and a person decides about its dead letter.
local function lose(id, status, state)
  redis.call('ZREM', DEFERRED, id)
  if state and state ~= 'deferred' then return end -- the text is elsewhere; only its due time was left over
  tell(status, id, 'lost', NOW .. ' lost its message is gone', 'fsck')
  redis.call('PEXPIRE', status, KEEP_STATUS)
end

local function bury(id, status, state, packed)
  local readable, fields = pcall(cjson.decode, packed)
  if not readable or type(fields) ~= 'table' then fields = {'message', packed} end
  local lane = field_of(fields, 'priority') == 'high' and 'h' or 'n'
  local ours = {
    'id', id, 'reason', 'in_doubt', 'code', '', 'detail', 'fsck found it without a due time',
    'attempts', field_of(fields, 'attempts') or '0', 'failed_at', NOW, 'lane', lane,
  }
  local taken = {}
  for i = 1, #ours, 2 do taken[ours[i]] = true end
  local letter = redis.call('XADD', DEAD, '*', unpack(append_all(without(fields, taken), ours)))
  redis.call('HDEL', MESSAGES, id)
  if state then return end -- what it says stays true
  tell(status, id, 'dead', NOW .. ' dead in_doubt', 'in_doubt', {'letter', letter, 'reason', 'in_doubt'})
end

local function look(id, status, repair)
  local due, packed = redis.call('ZSCORE', DEFERRED, id), redis.call('HGET', MESSAGES, id)
  local missing = due and not packed and 'message' or packed and not due and 'due'
  if not missing then return nil end
  local state, when = unpack(redis.call('HMGET', status, 'state', 'due'))
  if repair and missing == 'message' then
    lose(id, status, state)
  elseif repair and state == 'deferred' then
    redis.call('ZADD', DEFERRED, tonumber(when) and when or NOW, id)
  elseif repair then
    bury(id, status, state, packed)
  end
  return {id, missing, state or ''}
end

local function run(request, keys)
  local faults = {}
  for i, id in ipairs(request.ids) do faults[#faults + 1] = look(id, keys[i], request.repair) end
  return faults
end
