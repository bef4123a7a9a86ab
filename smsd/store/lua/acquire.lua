-- acquire: take or renew the lease, unless another daemon holds it.
-- include: events, fields, full, operator
-- takes: life_ms, dead, unrenewed_ms, hold?, held_s?, lost?
-- keys: hold, held, released
-- answers: {holder, ms since it renewed the lease, number of the last release, reason, by, since}
-- changes: lease, store, hold, held, events
--
-- Reason, by and since come only while an operator holds dispatch. The ms are -1 where the holder did not say for how
-- long it renews.
-- `dead` names a holder whose process is gone here: its lease need not run out first, if it has not been renewed for
-- `unrenewed_ms`. (A machine cloned with its memory has the same processes, and the holder may live on there.)
-- `hold` is why this daemon holds dispatch, if it does, for `held_s` seconds by now: recorded at the key `hold`.
-- `lost` is an operator's hold that stood, and that nobody has released: where it is gone it is made again.

local function record_hold(request, hold)
  redis.call('DEL', hold) -- also what a predecessor or other hands left there
  if not request.hold then return end
  redis.call('HSET', hold, 'by', OWNER, 'reason', request.hold, 'seconds', request.held_s)
  redis.call('PEXPIRE', hold, request.life_ms)
end

-- Whatever stands at the key of the hold holds: nobody is to send because it cannot be read.
local function operator(held, released)
  local answer = {digits_of(last_release(released))}
  if redis.call('EXISTS', held) == 0 then return answer end
  local found = redis.pcall('HMGET', held, 'reason', 'by', 'since')
  if found.err then found = {'the key ' .. held .. ' is no hash'} end
  for i = 1, 3 do answer[i + 1] = found[i] or '' end
  return answer
end

-- Redis may lose the last second, and so may a failover.
local function hold_again(lost, held, released)
  if redis.call('EXISTS', held) == 1 or last_release(released) > lost.release then return end
  allow_writes_while_full()
  local after = math.max(tonumber(NOW), lost.release)
  redis.call('HSET', held, 'reason', lost.reason, 'by', lost.by, 'since', lost.since, 'after', digits_of(after))
  announce_act('', 'held', lost.reason, lost.by)
end

-- Who holds the lease, if anybody. A lease is a string that runs out: other hands may have left anything there, and
-- then it is no lease, or gets a time to live like any other.
local LONGEST_LIFE = 3600000 -- what configuration allows
local function holder_of(request)
  local holder = redis.pcall('GET', LEASE)
  if type(holder) ~= 'string' then
    if holder then redis.call('DEL', LEASE) end
    return nil
  end
  local left = redis.call('PTTL', LEASE)
  if left < 0 or left > LONGEST_LIFE then redis.call('PEXPIRE', LEASE, request.life_ms) end
  return holder
end

local function unrenewed_ms(holder)
  local by, life = unpack(redis.pcall('HMGET', STORE, 'lease_holder', 'lease_ms'))
  if by ~= holder or not tonumber(life) then return -1 end
  return math.max(tonumber(life) - redis.call('PTTL', LEASE), 0)
end

local function may_take(request, holder)
  if not holder or holder == OWNER then return true end
  return holder == request.dead and unrenewed_ms(holder) >= request.unrenewed_ms
end

local function take(request, keys)
  local holder = holder_of(request)
  if not may_take(request, holder) then return {holder, unrenewed_ms(holder)} end
  allow_writes_while_full()
  redis.call('SET', LEASE, OWNER, 'PX', request.life_ms)
  redis.pcall('HSET', STORE, 'lease_holder', OWNER, 'lease_ms', request.life_ms)
  record_hold(request, keys[1])
  return {OWNER, 0}
end

local function run(request, keys)
  if request.lost then hold_again(request.lost, keys[2], keys[3]) end
  return append_all(take(request, keys), operator(keys[2], keys[3]))
end
