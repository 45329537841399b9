"""Thirty chats as token ids, from `transformers` and from `simattn serve`'s /tokenize.

    python interop/serving/chat_templates.py BINARY MODEL HF_MODEL

MODEL is a folder that `simattn convert from-hf HF_MODEL` wrote. Needs the package transformers and a binary with the feature
`serve`. Exits with 1 where anything differs. None of these chats spells a special token: there the two differ, on purpose.
"""

import json
import sys
import urllib.request

from server import KEY, serve

CONTENTS = ["Hello", "  spaces around \n", "", "Zürich, 東京 🦊", "a\n\nb\n", "{{ braces }} {% if %}", "<b>&amp;</b> 'quoted' \"twice\"",
            "x" * 300, "\t- item\n\t- item", "def f():\n    return 1\n"]


def chats():
    for content in CONTENTS:
        user = {"role": "user", "content": content}
        yield [user], dict(add_generation_prompt=True)
        yield [{"role": "system", "content": "Be brief."}, user, {"role": "assistant", "content": content + "!"}, user], \
            dict(add_generation_prompt=False)
        yield [user, {"role": "assistant", "content": f"Sure: {content}"}], \
            dict(add_generation_prompt=False, continue_final_message=True)


def main(binary, model, hf_model):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(hf_model)
    process, address = serve(binary, model)
    different = 0
    try:
        for number, (messages, options) in enumerate(chats()):
            expected = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
            request = urllib.request.Request(f"{address}/tokenize", json.dumps({"messages": messages} | options).encode(),
                                             {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"})
            found = json.load(urllib.request.urlopen(request))["tokens"]
            if list(expected) != found:
                different += 1
                print(f"chat {number}: {messages}\n  transformers {list(expected)}\n  simattn      {found}")
    finally:
        process.terminate()
        process.wait(timeout=60)
    print(f"{number + 1} chats, {different} differ")
    sys.exit(different > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
