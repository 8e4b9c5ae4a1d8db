/* token */
#include "relaypool.h"
