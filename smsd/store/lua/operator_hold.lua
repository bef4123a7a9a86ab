-- operator_hold: dispatch stays held until it is released, through every restart.
-- include: events, full, operator
-- takes: reason, by, after?, token?, known?
-- keys: held, released
-- answers: the number that a release of it exceeds | other | released
-- changes: held, events
--
-- 'other' where this is not the data that was compared (`token`), and 'released' where a hold that was made before
-- (`after` is its number) has been released meanwhile. The reason of one that stands already is kept beside the new
-- one: a release has to answer both. `known`, where it is given, is what the release lets this data count as.

local MOST_REASONS, MOST_IDS = 1000, 1000 -- octets

local function joined(standing, reason)
  if not standing or #standing + #reason > MOST_REASONS then return reason end
  return standing .. '; ' .. reason
end

local function named(standing, by) return by == 'smsd' and standing or by end

local function keep_known(held, known)
  local ids, settled = unpack(redis.call('HMGET', held, 'known_ids', 'known_settled'))
  if not ids or #ids > MOST_IDS then ids = known.ids end
  if not string.find(ids, known.ids, 1, true) then ids = ids .. ',' .. known.ids end
  redis.call('HSET', held, 'known_ids', ids, 'known_settled', digits_of(math.max(number_of(settled), known.settled)))
end

local function run(request, keys)
  local held, released = unpack(keys)
  if request.token and redis.pcall('HGET', STORE, 'compared') ~= request.token then return 'other' end
  if request.after and last_release(released) > request.after then return 'released' end
  allow_writes_while_full()
  if redis.call('TYPE', held).ok ~= 'hash' then redis.call('DEL', held) end
  local after = math.max(tonumber(NOW), highest(held, released))
  local standing, since, by = unpack(redis.call('HMGET', held, 'reason', 'since', 'by'))
  redis.call('HSET', held, 'after', digits_of(after))
  if request.known then keep_known(held, request.known) end
  if standing and string.find(standing, request.reason, 1, true) then return after end
  local reason = joined(standing, request.reason)
  redis.call('HSET', held, 'reason', reason, 'by', named(by, request.by), 'since', since or NOW)
  announce_act('', 'held', request.reason, request.by)
  return after
end
