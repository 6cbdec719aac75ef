"""How other languages than English say that a thing is not there, and how they refuse."""

from __future__ import annotations

import re

__all__ = ["ABSENT_ABROAD", "REFUSED_ABROAD"]


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases))


ABSENT_ABROAD = _any_of(
    # Chinese
    r"没有|沒有|未(?:能)?(?:检测|檢測|发现|發現|找到|出现|出現|包含|见|看到|识别)",
    r"不(?:存在|包含|可见|可見|在|含有)|找不到|看不到|看不见|无(?:此|该|任何|目标)|(?:^|并)无(?!法)",
    r"(?:无法|不能)(?:在\w{1,8}?)?(?:找到|定位|检测到|发现|看到)",
    # Japanese, Korean
    r"ありません|見つかりません|見つけられません|いません|存在しません|写っていません",
    r"見当たりません|含まれていません|なし$|検出されません",
    r"없습니다|없음|없어요|보이지 않|찾을 수 없|존재하지 않|감지되지 않|포함되어 있지 않",
    # German, Dutch
    r"\bkein(?:e|en|em|er|es)?\b|\bnichts (?:gefunden|zu sehen|erkannt)",
    r"\bnicht (?:\w+ ){0,4}?(?:vorhanden|sichtbar|gefunden|enthalten|abgebildet|erkennbar"
    r"|zu sehen|zu finden|finden|entdecken|erkennen|im bild|auf dem bild|dargestellt)",
    r"\b(?:fehlt|fehlen)\b",
    r"\bgeen\b|\bniet (?:\w+ ){0,3}?(?:aanwezig|zichtbaar|gevonden|te zien|vinden)\b",
    # French
    r"\bn(?:e |'|’)\w+ (?:\w+ ){0,3}?(?:pas|aucune?|rien|plus)\b",
    r"\bn(?:e |'|’)y a (?:pas|aucune?|rien)\b|\baucune? \w+|\bintrouvable|\best absent",
    r"\brien (?:trouvé|de tel|détecté|vu)|\bnon (?:trouvé|présent|visible|détecté)",
    # Spanish
    r"\bno (?:hay|contiene|aparece|est[áa]n?|existe|muestra|veo|incluye|encuentro|figura"
    r"|se (?:\w+ )?(?:encuentra|encontr|ve|observa|detect|aprecia|muestra|puede|pudo"
    r"|visualiza|identific))|\bno (?:puedo|pude|he podido) (?:encontrar|ver|localizar"
    r"|detectar|identificar)|\bning[úu]n(?:a|o)?\b",
    r"\bno (?:encontrad|detectad|presente|visible)",
    # Portuguese, Italian
    r"\bn[ãa]o (?:h[áa]|cont[ée]m|aparece|est[áa]|existe|foi|encontr|vejo|se |consigo ver"
    r"|consigo encontrar|consegui encontrar)|\bnenhuma?\b",
    r"\bnon (?:c'|c’|ci sono|contiene|appare|esiste|è presente|è visibile|vedo|si vede"
    r"|sono presenti|ho trovato|riesco a trovare|mostra|trovat|rilevat)|\bnessun[ao]?\b",
    r"\bassente\b",
    # Russian, Polish, Turkish, Arabic, Hindi, Vietnamese, Swedish, Indonesian
    r"\bнет\b|не (?:\w+ )?(?:найден|обнаружен|видно|видна|вижу|содержит|присутству|нашел"
    r"|нашёл|могу найти)|отсутству",
    r"\bnie (?:ma|widać|zawiera|znaleziono|widzę)\b|\bbrak\b|\byok\b|bulunamad|bulunmuyor",
    r"لا (?:يوجد|توجد|تحتوي|يحتوي|أرى)|नहीं|không (?:có|tìm|thấy)",
    r"\bfinns (?:inget|ingen|inte)\b|\bingen\b|\btidak (?:ada|ditemukan|terlihat)\b",
)
"""Says, in small letters, that something is not there."""

REFUSED_ABROAD = _any_of(
    # Chinese
    r"(?:无法|不能|不可以|没法)\w{0,4}(?:查看|帮助|帮忙|协助|提供|回答|处理|分析|判断|访问|完成)",
    r"(?:看不到|无法看到|看不见|没有(?:提供|上传|收到|看到)?|未(?:提供|上传|收到))"
    r"(?:任何|这张|该)?(?:图片|图像|照片)(?:$|[，。,.!！])",
    r"作为(?:一个|一名)?\w{0,6}(?:ai|人工智能|语言模型|助手)",
    # German
    r"\bals (?:eine? )?(?:ki|künstliche|sprachmodell)|\bkeine? (?:bild|bilder|foto)\b",
    r"\bkann (?:ich )?(?:\w+ ){0,4}(?:nicht (?:helfen|beantworten|beurteilen|öffnen"
    r"|anzeigen|ansehen|verarbeiten)|(?:das|dieses) bild nicht)",
    # French
    r"\bpeux pas (?:vous )?(?:aider|voir (?:l'|cette |d'|les )?images?|répondre|analyser"
    r"|afficher|ouvrir|traiter)|\ben tant qu(?:e |'|’)(?:ia|intelligence|modèle|assistant)",
    r"\baucune image n'|\bpas d(?:'|’)image\b",
    # Spanish, Portuguese, Italian
    r"\b(?:puedo|podemos) (?:ayudar|ver (?:la |esta |ninguna )?im[áa]gen(?:es)?"
    r"|responder|analizar|procesar|acceder)|\bcomo (?:modelo|ia|inteligencia|asistente)\b",
    r"\bninguna imagen\b",
    r"\bposso (?:ajudar|ver (?:a |esta |essa )?imag|responder|analisar|aiutar|vedere l'imm)",
    r"\bcome (?:modello|ia|intelligenza)\b",
    # Russian, Japanese, Korean
    r"не могу (?:помочь|видеть|просмотреть|открыть)|как (?:ии|искусственный|языковая)",
    r"(?:画像|お手伝い|お答え)\w{0,4}(?:でき|見ることができ)",
    r"이미지를 (?:볼 수 없|확인할 수 없)|도와드릴 수 없|도울 수 없",
)
"""Says, in small letters, that the image cannot be seen or the question not be answered."""
