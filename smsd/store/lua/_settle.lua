-- _settle: take an entry out of its stream. What a group settles is acknowledged, unmarked and numbered once.
-- include: damage, entries, identity, in_flight
local acked, unmarked = {[QUEUE] = {}, [HIGH] = {}}, {}
local removed = 0 -- settlements that are not answered with 'settled'

-- Returns 'settled', or why not: 'gone' (settled before) or 'marked' (another daemon's attempt is under way).
-- `fact`: the provider took it; that holds whoever set the mark, and where no mark can be read.
local function settle(name, mark, fact)
  local stream, id = stream_of(name)
  need(stream)
  if not fact then need(INFLIGHT) end
  local foreign = is_foreign(name, mark)
  if foreign and not fact then return 'marked' end
  table.insert(acked[stream], id)
  if not foreign then table.insert(unmarked, name) end
  return redis.call('XDEL', stream, id) == 1 and 'settled' or 'gone'
end

-- Settlements are numbered, so that it shows how many of them older data lacks; that keeps its number until a daemon
-- has settled those again.
local function number_settlements(replies)
  local settled = removed
  for _, reply in ipairs(replies) do
    if reply == 'settled' then settled = settled + 1 end
  end
  if settled > 0 and not is_older() then redis.pcall('HINCRBY', STORE, 'settled', settled) end
end

at_end[#at_end + 1] = function(replies)
  for stream, ids in pairs(acked) do
    if #ids > 0 then redis.pcall('XACK', stream, GROUP, unpack(ids)) end
  end
  if #unmarked > 0 then redis.pcall('HDEL', INFLIGHT, unpack(unmarked)) end
  number_settlements(replies)
end
