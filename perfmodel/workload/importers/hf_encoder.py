def builders(): return {}
