-- operator_release: end the hold; the number of the release also ends what the daemon holds for the provider's sake.
-- include: events, full, operator
-- takes: by
-- keys: held, released
-- answers: released
-- changes: held, released, store, events
--
-- The number is the time, or more than that where clocks differ: it has to grow. A hold for the data says what was known.
-- That is kept with the data: who compares it later finds that it was released.

local function is_repeated(held, last)
  return redis.call('EXISTS', held) == 0 and last >= tonumber(NOW) and last <= tonumber(NOW) + 1
end

local function keep_known(held)
  local ids, settled = unpack(redis.pcall('HMGET', held, 'known_ids', 'known_settled'))
  if ids then redis.pcall('HSET', STORE, 'released_ids', ids, 'released_settled', digits_of(number_of(settled))) end
end

local function run(request, keys)
  local held, released = unpack(keys)
  allow_writes_while_full()
  if is_repeated(held, last_release(released)) then return 'released' end -- our own reply was lost
  local number = math.max(tonumber(NOW), highest(held, released) + 1)
  keep_known(held)
  redis.call('SET', released, digits_of(number))
  redis.call('DEL', held)
  announce_act('', 'released', '', request.by)
  return 'released'
end
