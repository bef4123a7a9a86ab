-- groups: make what is missing of streams and groups, also while Redis is full; from 0, so that no entry is skipped.
-- include: damage, full
-- takes: store_id
-- keys: none
-- answers: there
-- changes: queue, high, store
--
-- Data that has no id yet gets the one that is brought.

local function run(request)
  allow_writes_while_full()
  if redis.call('TYPE', STORE).ok ~= 'hash' then redis.call('DEL', STORE) end
  redis.call('HSETNX', STORE, 'id', request.store_id)
  for _, stream in ipairs({HIGH, QUEUE}) do
    if not wrong_type(stream, KIND[stream]) then
      local made = redis.pcall('XGROUP', 'CREATE', stream, GROUP, 0, 'MKSTREAM')
      if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then error(made) end
    end
  end
  need(HIGH, QUEUE) -- after the other was made
  return 'there'
end
