-- _add: append to a stream that is needed. Refused by name where its ids have run out.
-- include: damage, last_ids
local function add(stream, fields)
  need(stream)
  local id = redis.pcall('XADD', stream, '*', unpack(fields))
  if type(id) == 'string' then return id end
  if string.find(id.err, 'exhausted', 1, true) or string.find(id.err, 'equal or smaller', 1, true) then
    refuse(stream, EXHAUSTED)
  end
  error(id)
end
