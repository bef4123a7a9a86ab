-- groups: make what is missing of streams and groups, also while Redis is full; from 0, so that no entry is skipped.
local function run()
  open_the_door()
  for _, stream in ipairs({HIGH, QUEUE}) do
    if not wrong_type(stream, KIND[stream]) then
      local made = redis.pcall('XGROUP', 'CREATE', stream, GROUP, 0, 'MKSTREAM')
      if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then error(made) end
    end
  end
  need(HIGH, QUEUE) -- after the other was made
  return 'there'
end
