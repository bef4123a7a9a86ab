-- append: queue the texts of one request, all or none, with its idempotency record.
-- KEYS 11 intake record of this daemon, 12 idempotency record (or 11 again), 13.. status of each scheduled text
-- Returns {'queued', ids} {'repeated', ids, answer} {'conflict'} {'full'}; ids joined by commas.
local intake, key = KEYS[11], KEYS[12]
local group, place = take(), take()

-- What the group before this one did is known by now, so its record makes room for this one's.
if redis.call('HGET', intake, 'group') ~= group then
  redis.call('HSET', intake, 'group', group) -- refused while Redis is full, before a DEL would open the door
  redis.call('DEL', intake)
  redis.call('HSET', intake, 'group', group)
end
local done = redis.call('HGET', intake, place)
if done then return {'queued', done} end

local key_ttl, fingerprint, answer = tonumber(take()), take(), take()
if key_ttl > 0 then
  local first = redis.call('HMGET', key, 'fingerprint', 'ids', 'answer')
  if first[1] == fingerprint then return {'repeated', first[2], first[3]} end
  if first[1] then return {'conflict'} end
end

local lane, due, most_waiting = take(), take(), tonumber(take())
local common, recipients, scheduled = take_list(), take_list(), take_list()
local waiting = redis.call('XLEN', QUEUE) + redis.call('XLEN', HIGH) + redis.call('ZCARD', DEFERRED)
if waiting + #recipients > most_waiting then return {'full'} end

local ids = {}
for i, recipient in ipairs(recipients) do
  if due == '' then
    local entry = redis.call('XADD', lane == 'h' and HIGH or QUEUE, '*', 'to', recipient, unpack(common))
    ids[i] = lane == 'h' and 'h' .. entry or entry
    redis.call('XADD', EVENTS, 'MAXLEN', '~', MOST_EVENTS, '*', 'id', ids[i], 'state', 'queued', 'detail', '')
  else
    ids[i] = scheduled[i]
    redis.call('ZADD', DEFERRED, due, ids[i])
    redis.call('HSET', MESSAGES, ids[i], cjson.encode({'id', ids[i], 'to', recipient, unpack(common)}))
    redis.call('HINCRBY', COUNTERS, 'scheduled', 1)
    tell(KEYS[12 + i], ids[i], 'deferred', NOW .. ' deferred scheduled', 'scheduled', {'due', due, 'to', recipient})
  end
end

local joined = table.concat(ids, ',')
redis.call('HSET', intake, place, joined)
redis.call('PEXPIRE', intake, 3600000)
if key_ttl > 0 then
  redis.call('HSET', key, 'fingerprint', fingerprint, 'ids', joined, 'answer', answer)
  redis.call('PEXPIRE', key, key_ttl)
end
return {'queued', joined}
