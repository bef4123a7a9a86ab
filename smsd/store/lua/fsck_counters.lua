-- fsck_counters: book the difference that a census found, if none was booked since that census.
-- include: damage
-- takes: adjusted, difference
-- keys: none
-- answers: booked | changed
-- changes: counters

local function run(request)
  need(COUNTERS)
  if (redis.call('HGET', COUNTERS, 'adjusted') or '0') ~= request.adjusted then return 'changed' end
  redis.call('HINCRBY', COUNTERS, 'adjusted', request.difference)
  return 'booked'
end
